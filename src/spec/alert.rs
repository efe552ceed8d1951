//! What the user is told, and when.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Code, Diagnostic, Located, LocatedMap, Secret};

/// An alert: a question to the engine's own tables whose answer "true" is told.
///
/// ```yaml
/// alerts:
///   - name: nothing_found
///     when: select count(*) = 0 from engine.runs where started_at > '2026-11-01'
///     to: { slack: { webhook: "${secret:SLACK_OPS}" } }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its name.
    pub name: Located<String>,
    /// A query over `engine.*` that returns true when there is something to tell.
    pub when: Located<String>,
    /// Where it is told: one of `slack`, `email`, `webhook`, with its settings.
    pub to: Located<LocatedMap<LocatedMap<Secret>>>,
}

const CHANNELS: &[&str] = &["slack", "email", "webhook"];

impl Alert {
    /// Finds what is wrong with where it is told.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (channel, _) in &self.to.value.0 {
            if !CHANNELS.contains(&channel.as_str()) {
                let message = format!("`{}` is nowhere to tell an alert", channel.value);
                let fault = Diagnostic::error(Code::BadValue, message, channel.at);
                found.push(fault.suggest(channel, "channels", CHANNELS.iter().copied()));
            }
        }
        if self.to.value.0.is_empty() {
            let message = format!("the alert `{}` is told nowhere", self.name.value);
            let fault = Diagnostic::error(Code::BadValue, message, self.to.at);
            found.push(fault.help("say where: `to: { slack: { webhook: … } }`"));
        }
        found
    }
}
