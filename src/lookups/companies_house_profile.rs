//! `companies_house_profile`: what the register says of a company today.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::companies_house::{Register, check_profile, key};
use super::json::{Field, Found, Member, Read, columns, parse, row};
use super::{BuildLookup, Key, Lookup, LookupColumn, Verdict};
use crate::context::BuildContext;
use crate::net::{Request, Response};
use crate::spec::{Located, Row, Secret, Text};
use crate::table::ColumnType::{Bool, Date, String as Words};

/// Asks Companies House what the register says of a company today: one row, with columns that
/// begin with `profile_`. `by` is the number of the company; zeros that a spreadsheet took away
/// are put back.
///
/// `profile_status_detail` is `active-proposal-to-strike-off` while the register means to strike
/// the company off. What is overdue is so on the day of the request.
///
/// ```yaml
/// enrich:
///   companies_house_profile: { key: "${secret:CH_API_KEY}" }
/// by: [company_number]
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompaniesHouseProfile {
    /// The key of the API, as `${secret:NAME}`.
    pub key: Secret,
    /// Where the API is; `https://api.company-information.service.gov.uk` otherwise.
    #[serde(default)]
    pub base_url: Option<Text>,
}

impl BuildLookup for CompaniesHouseProfile {
    fn build(
        &self,
        by: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Lookup>> {
        let register = Register::build(&self.key, self.base_url.as_ref(), by, context)?;
        Some(Arc::new(Profile { register, columns: columns(FIELDS) }))
    }
}

/// The columns. No name is one of the register of companies.
const FIELDS: &[Field] = &[
    (
        "profile_name",
        Read::Made(Words, |p| Ok(Some(p.needed(p.text("company_name")?, "company_name")?))),
    ),
    ("profile_status", Read::At(Words, "company_status")),
    ("profile_status_detail", Read::At(Words, "company_status_detail")),
    ("profile_type", Read::At(Words, "type")),
    ("profile_subtype", Read::At(Words, "subtype")),
    ("profile_is_community_interest_company", Read::At(Bool, "is_community_interest_company")),
    ("profile_jurisdiction", Read::At(Words, "jurisdiction")),
    ("profile_created_on", Read::At(Date, "date_of_creation")),
    ("profile_ceased_on", Read::At(Date, "date_of_cessation")),
    ("profile_care_of", Read::At(Words, "registered_office_address.care_of")),
    ("profile_po_box", Read::At(Words, "registered_office_address.po_box")),
    ("profile_premises", Read::At(Words, "registered_office_address.premises")),
    ("profile_address_line_1", Read::At(Words, "registered_office_address.address_line_1")),
    ("profile_address_line_2", Read::At(Words, "registered_office_address.address_line_2")),
    ("profile_locality", Read::At(Words, "registered_office_address.locality")),
    ("profile_region", Read::At(Words, "registered_office_address.region")),
    ("profile_country", Read::At(Words, "registered_office_address.country")),
    ("profile_postal_code", Read::At(Words, "registered_office_address.postal_code")),
    ("profile_sic_codes", Read::Made(Words, sic_codes)),
    (
        "profile_accounts_next_due",
        Read::Made(Date, |p| day(p, "accounts.next_accounts.due_on", "accounts.next_due")),
    ),
    (
        "profile_accounts_next_made_up_to",
        Read::Made(Date, |p| {
            day(p, "accounts.next_accounts.period_end_on", "accounts.next_made_up_to")
        }),
    ),
    (
        "profile_accounts_are_overdue",
        Read::Made(Bool, |p| flag(p, "accounts.next_accounts.overdue", "accounts.overdue")),
    ),
    (
        "profile_accounts_last_made_up_to",
        Read::Made(Date, |p| {
            day(p, "accounts.last_accounts.period_end_on", "accounts.last_accounts.made_up_to")
        }),
    ),
    (
        "profile_accounts_last_type",
        Read::Made(Words, |p| {
            // The register writes null as a text here.
            Ok(p.text("accounts.last_accounts.type")?.filter(|kind| kind != "null"))
        }),
    ),
    ("profile_accounts_reference_day", Read::Digits("accounts.accounting_reference_date.day")),
    ("profile_accounts_reference_month", Read::Digits("accounts.accounting_reference_date.month")),
    ("profile_confirmation_next_due", Read::At(Date, "confirmation_statement.next_due")),
    (
        "profile_confirmation_next_made_up_to",
        Read::At(Date, "confirmation_statement.next_made_up_to"),
    ),
    ("profile_confirmation_is_overdue", Read::At(Bool, "confirmation_statement.overdue")),
    (
        "profile_confirmation_last_made_up_to",
        Read::At(Date, "confirmation_statement.last_made_up_to"),
    ),
    ("profile_annual_return_next_due", Read::At(Date, "annual_return.next_due")),
    ("profile_annual_return_is_overdue", Read::At(Bool, "annual_return.overdue")),
    ("profile_annual_return_last_made_up_to", Read::At(Date, "annual_return.last_made_up_to")),
    ("profile_last_members_list_on", Read::At(Date, "last_full_members_list_date")),
    ("profile_has_charges", Read::Made(Bool, |p| flag_or_link(p, "has_charges", "links.charges"))),
    (
        "profile_has_insolvency_history",
        Read::Made(Bool, |p| flag_or_link(p, "has_insolvency_history", "links.insolvency")),
    ),
    ("profile_has_been_liquidated", Read::At(Bool, "has_been_liquidated")),
    ("profile_has_super_secure_pscs", Read::At(Bool, "has_super_secure_pscs")),
    ("profile_can_file", Read::At(Bool, "can_file")),
    ("profile_address_is_undeliverable", Read::At(Bool, "undeliverable_registered_office_address")),
    ("profile_address_is_in_dispute", Read::At(Bool, "registered_office_is_in_dispute")),
    ("profile_previous_names", Read::Made(Words, previous_names)),
    ("profile_partial_data", Read::At(Words, "partial_data_available")),
    ("profile_external_registration_number", Read::At(Words, "external_registration_number")),
    ("profile_parent_name", Read::At(Words, "branch_company_details.parent_company_name")),
    ("profile_parent_number", Read::At(Words, "branch_company_details.parent_company_number")),
    ("profile_branch_activity", Read::At(Words, "branch_company_details.business_activity")),
    (
        "profile_foreign_registry",
        Read::At(Words, "foreign_company_details.originating_registry.name"),
    ),
    (
        "profile_foreign_country",
        Read::At(Words, "foreign_company_details.originating_registry.country"),
    ),
    (
        "profile_foreign_registration_number",
        Read::At(Words, "foreign_company_details.registration_number"),
    ),
    ("profile_foreign_legal_form", Read::At(Words, "foreign_company_details.company_type")),
    ("profile_foreign_activity", Read::At(Words, "foreign_company_details.business_activity")),
    ("profile_etag", Read::At(Words, "etag")),
];

/// What the register says of a company.
#[derive(Debug)]
struct Profile {
    register: Register,
    columns: Vec<LookupColumn>,
}

impl Lookup for Profile {
    fn columns(&self) -> &[LookupColumn] {
        &self.columns
    }

    fn identity(&self) -> String {
        format!("companies_house_profile 1 {}", self.register.base.join(""))
    }

    fn server(&self) -> &str {
        self.register.base.server()
    }

    fn key(&self, values: &[&str]) -> Result<Key, String> {
        key(values)
    }

    fn ask(&self, key: &Key) -> Request {
        self.register.get_profile(key)
    }

    fn read(&self, key: &Key, _: &Request, response: &Response, rows: &mut Vec<Row>) -> Verdict {
        if let Err(verdict) = self.register.judge(response) {
            return verdict;
        }
        match read(key, response) {
            Ok(row) => {
                rows.push(row);
                Verdict::Answer
            }
            Err(reason) => Verdict::Passing(reason),
        }
    }
}

fn read(key: &Key, response: &Response) -> Result<Row, String> {
    let document = parse(response.body())?;
    let profile = Member::whole(&document);
    check_profile(&profile, key)?;
    row(FIELDS, &profile)
}

/// Returns the day at a path, or else at the one where it was in earlier years.
fn day(profile: &Member<'_>, path: &str, earlier: &str) -> Found {
    let earlier = profile.day(earlier)?;
    Ok(profile.day(path)?.or(earlier))
}

/// Returns the flag at a path, or else at the one where it was in earlier years.
fn flag(profile: &Member<'_>, path: &str, earlier: &str) -> Found {
    let earlier = profile.flag(earlier)?;
    Ok(profile.flag(path)?.or(earlier).map(|flag| flag.to_string()))
}

/// Returns a flag; it is deprecated, and the link that replaces it is only there when it is set.
fn flag_or_link(profile: &Member<'_>, path: &str, link: &str) -> Found {
    let is_linked = profile.text(link)?.is_some().then_some(true);
    Ok(profile.flag(path)?.or(is_linked).map(|flag| flag.to_string()))
}

fn sic_codes(profile: &Member<'_>) -> Found {
    let mut codes = Vec::new();
    for code in profile.list("sic_codes")?.unwrap_or_default() {
        codes.extend(code.text("")?);
    }
    Ok(Some(codes.join(",")).filter(|codes| !codes.is_empty()))
}

fn previous_names(profile: &Member<'_>) -> Found {
    let mut names = Vec::new();
    for name in profile.list("previous_company_names")?.unwrap_or_default() {
        names.extend(name.text("name")?);
    }
    Ok(Some(names.join("; ")).filter(|names| !names.is_empty()))
}
