//! SQL written in a pipeline file: parsed, given its parameters, planned, and its mistakes found.
//!
//! Parameters (`$today`, `$min_age`) are put into the parsed tree as typed literals, never into
//! the text. Expressions are parsed alone and then joined to a query as trees, so a place in an
//! expression is a place in the file.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, ident};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser;
use datafusion::sql::sqlparser::ast::ExprWithAlias as SQLExprWithAlias;

use super::place::{find_word, place};
use crate::spec::{Code, Diagnostic, Located, Mark, Value, did_you_mean, list};

/// The parsed form of SQL.
pub use sqlparser::ast;
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// Plans the SQL of one pipeline file.
#[derive(Clone)]
pub struct Sql {
    session: SessionContext,
    parameters: Arc<BTreeMap<String, Value>>,
    file: Arc<str>,
}

impl Sql {
    /// Makes a planner over the tables of `session`. `file` is the text of the pipeline file.
    pub fn new(
        session: SessionContext,
        parameters: BTreeMap<String, Value>,
        file: Arc<str>,
    ) -> Self {
        Self { session, parameters: Arc::new(parameters), file }
    }

    /// Makes a planner for the SQL of another file, with tables of its own in a new catalog.
    /// `None` when the catalog cannot be made.
    pub fn within(&self, catalog: &str, file: Arc<str>) -> Option<Self> {
        let tables = MemoryCatalogProvider::new();
        tables.register_schema("public", Arc::new(MemorySchemaProvider::new())).ok()?;
        self.session.register_catalog(catalog, Arc::new(tables));
        let state = self.session.state();
        let config = state.config().clone().with_default_catalog_and_schema(catalog, "public");
        let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
        let session = SessionContext::new_with_state(state);
        Some(Self { session, parameters: Arc::clone(&self.parameters), file })
    }

    /// Makes a schema for the ports of a node, if there is none yet.
    pub fn add_ports(&self, node: &str) -> Result<(), DataFusionError> {
        add_schema(&self.session, node)
    }

    /// Returns the session whose tables it plans over.
    pub fn session(&self) -> SessionContext {
        self.session.clone()
    }

    /// Returns a table by its id.
    pub async fn table(&self, id: &str) -> Result<DataFrame, DataFusionError> {
        self.session.table(reference(id)).await
    }

    /// Parses a statement; it must be one query.
    pub fn parse_query(&self, sql: &Located<String>) -> Result<ast::Statement, Diagnostic> {
        let tokens = self.tokens(sql)?;
        let mut statements = Parser::new(&GenericDialect {})
            .with_tokens_with_locations(tokens)
            .parse_statements()
            .map_err(|error| self.syntax(&error, sql))?;
        if let Some(second) = statements.get(1) {
            use ast::Spanned as _;
            let start = second.span().start;
            let at = self.at(sql, start.line, start.column);
            return Err(Diagnostic::error(Code::SqlSyntax, "more than one statement", at)
                .help("make each a node of its own"));
        }
        match statements.pop() {
            Some(mut statement @ ast::Statement::Query(_)) => {
                self.fill(&mut statement, sql)?;
                Ok(statement)
            }
            Some(_) => Err(Diagnostic::error(Code::SqlSyntax, "not a query", sql.at)
                .help("`sql` takes one SELECT; sinks write")),
            None => Err(Diagnostic::error(Code::SqlSyntax, "no statement", sql.at)),
        }
    }

    /// Plans a statement.
    pub async fn query(&self, sql: &Located<String>) -> Result<DataFrame, Diagnostic> {
        let statement = self.parse_query(sql)?;
        self.plan(statement, sql).await
    }

    /// Parses an expression.
    pub fn expression(&self, sql: &Located<String>) -> Result<ast::Expr, Diagnostic> {
        let mut expression = self.parse(sql, |parser| parser.parse_expr())?;
        self.fill(&mut expression, sql)?;
        self.refuse_queries(&expression, sql)?;
        Ok(expression)
    }

    /// Parses an item of a SELECT list: a column, `*`, or `expression as name`.
    pub fn item(&self, sql: &Located<String>) -> Result<ast::SelectItem, Diagnostic> {
        let mut item = self.parse(sql, |parser| parser.parse_select_item())?;
        self.fill(&mut item, sql)?;
        self.refuse_queries(&item, sql)?;
        Ok(item)
    }

    /// Parses an item of an ORDER BY list: `column desc nulls last`.
    pub fn order(&self, sql: &Located<String>) -> Result<ast::OrderByExpr, Diagnostic> {
        let mut order = self.parse(sql, |parser| parser.parse_order_by_expr())?;
        self.fill(&mut order, sql)?;
        self.refuse_queries(&order, sql)?;
        Ok(order)
    }

    /// Looks up a column of planned rows.
    pub fn column_of(&self, rows: &DataFrame, name: &Located<String>) -> Result<(), Diagnostic> {
        let known: Vec<Column> = rows.schema().columns();
        match known.iter().any(|column| column.name == name.value) {
            true => Ok(()),
            false => Err(unknown_column(name, &known, name.at)),
        }
    }

    /// Plans an item of an ORDER BY list over planned rows.
    fn sort(&self, rows: &DataFrame, text: &Located<String>) -> Result<Sort, Diagnostic> {
        let order = self.order(text)?;
        let item = SQLExprWithAlias { expr: order.expr, alias: None };
        let state = self.session.state();
        let expression = state
            .create_logical_expr_from_sql_expr(item, rows.schema())
            .map_err(|error| self.fault(&error, text))?;
        let ascending = order.options.asc.unwrap_or(true);
        let nulls_first = order.options.nulls_first.unwrap_or(false);
        Ok(Sort::new(expression, ascending, nulls_first))
    }

    /// Plans items of an ORDER BY list over planned rows: returns the rows with a column for each
    /// item at their end, and the direction of each.
    pub fn with_order(
        &self,
        rows: DataFrame,
        items: &[Located<String>],
    ) -> Result<(DataFrame, Vec<SortOptions>), Vec<Diagnostic>> {
        let (mut order, mut found) = (Vec::new(), Vec::new());
        for item in items {
            match self.sort(&rows, item) {
                Ok(sort) => order.push(sort),
                Err(fault) => found.push(fault),
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let direction =
            |sort: &Sort| SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        let directions = order.iter().map(direction).collect();
        let names = rows.schema().fields().iter().map(|field| ident(field.name()));
        let mut columns: Vec<Expr> = names.collect();
        let own = order.into_iter().enumerate();
        columns.extend(own.map(|(nth, sort)| sort.expr.alias(format!("__order_{nth}"))));
        let rows = rows.select(columns).map_err(|error| {
            let at = items.first().map(|item| item.at).unwrap_or_default();
            vec![Diagnostic::error(Code::SqlPlan, error.strip_backtrace(), at)]
        })?;
        Ok((rows, directions))
    }

    /// Plans `SELECT items FROM table WHERE condition`; mistakes are looked up in `origin`.
    pub async fn select(
        &self,
        table: &str,
        items: Vec<ast::SelectItem>,
        condition: Option<ast::Expr>,
        origin: &Located<String>,
    ) -> Result<DataFrame, Diagnostic> {
        let broken = || Diagnostic::error(Code::SqlPlan, "cannot be planned", origin.at);
        let text = format!("SELECT * FROM {}", reference(table).to_quoted_string());
        let statement = Parser::parse_sql(&GenericDialect {}, &text).map_err(|_| broken())?;
        let Some(ast::Statement::Query(mut query)) = statement.into_iter().next() else {
            return Err(broken());
        };
        let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(broken()) };
        if !items.is_empty() {
            select.projection = items;
        }
        select.selection = condition;
        self.plan(ast::Statement::Query(query), origin).await
    }

    async fn plan(
        &self,
        statement: ast::Statement,
        origin: &Located<String>,
    ) -> Result<DataFrame, Diagnostic> {
        let state = self.session.state();
        let statement = Statement::Statement(Box::new(statement));
        let plan = state.statement_to_plan(statement).await;
        let plan = plan.map_err(|error| self.fault(&error, origin))?;
        // Types are only checked by the analyzer.
        let options = state.config_options();
        let checked = state.analyzer().execute_and_check(plan.clone(), options, |_, _| {});
        checked.map_err(|error| self.fault(&error, origin))?;
        Ok(DataFrame::new(state, plan))
    }

    fn parse<T>(
        &self,
        sql: &Located<String>,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, Diagnostic> {
        let tokens = self.tokens(sql)?;
        let read_all = || {
            let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
            let tree = read(&mut parser)?;
            let next = parser.peek_token();
            match next.token {
                Token::EOF => Ok(tree),
                other => Err(ParserError::ParserError(format!(
                    "unexpected `{other}`{}",
                    next.span.start
                ))),
            }
        };
        read_all().map_err(|error| self.syntax(&error, sql))
    }

    /// Takes a text apart. One with thousands of operators is refused: trees that deep are walked
    /// by recursion, and end the process when the stack does.
    fn tokens(&self, sql: &Located<String>) -> Result<Vec<TokenWithSpan>, Diagnostic> {
        const MOST: usize = 1000;
        const MOST_BYTES: usize = 64 << 10;
        if sql.len() > MOST_BYTES {
            let message = format!("SQL: too long: more than {MOST_BYTES} bytes");
            let fault = Diagnostic::error(Code::SqlSyntax, message, sql.at);
            return Err(fault.help("divide it into several nodes, or join with a table of values"));
        }
        let tokens = Tokenizer::new(&GenericDialect {}, sql)
            .tokenize_with_location()
            .map_err(|error| self.syntax(&error.into(), sql))?;
        let is_plain = |token: &TokenWithSpan| match &token.token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) => true,
            Token::Comma | Token::Period | Token::Whitespace(_) => true,
            _ => false,
        };
        let n_operators = tokens.iter().filter(|token| !is_plain(token)).count();
        if n_operators > MOST {
            let message =
                format!("SQL: too long: {n_operators} operators and keywords, {MOST} at most");
            let fault = Diagnostic::error(Code::SqlSyntax, message, sql.at);
            return Err(fault.help("divide it into several nodes, or join with a table of values"));
        }
        Ok(tokens)
    }

    /// Puts typed literals where parameters stand.
    fn fill(
        &self,
        tree: &mut impl ast::VisitMut,
        origin: &Located<String>,
    ) -> Result<(), Diagnostic> {
        let filled = ast::visit_expressions_mut(tree, |expression| {
            let ast::Expr::Value(value) = expression else { return ControlFlow::Continue(()) };
            let ast::Value::Placeholder(placeholder) = &value.value else {
                return ControlFlow::Continue(());
            };
            let name = placeholder.trim_start_matches('$');
            match self.parameters.get(name) {
                Some(known) => {
                    *expression = literal(known, value.span);
                    ControlFlow::Continue(())
                }
                None => {
                    let start = value.span.start;
                    let at = self.word_at(placeholder, (start.line, start.column), origin);
                    let message = format!("no parameter `{placeholder}`");
                    let fault = Diagnostic::error(Code::UnknownVariable, message, at);
                    ControlFlow::Break(self.suggest(fault, name, "$"))
                }
            }
        });
        match filled {
            ControlFlow::Break(fault) => Err(fault),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Refuses a query inside an expression: the tables that it reads would be no inputs.
    fn refuse_queries(
        &self,
        tree: &impl ast::Visit,
        origin: &Located<String>,
    ) -> Result<(), Diagnostic> {
        let found = ast::visit_relations(tree, |relation| ControlFlow::Break(relation.clone()));
        let ControlFlow::Break(relation) = found else { return Ok(()) };
        let at = self.find(&relation.to_string(), origin);
        let message = "a query inside an expression";
        Err(Diagnostic::error(Code::SqlPlan, message, at)
            .help("read the other table in a `sql` node, with a join"))
    }

    fn suggest(&self, fault: Diagnostic, name: &str, prefix: &str) -> Diagnostic {
        match did_you_mean(name, self.parameters.keys().map(String::as_str)) {
            Some(known) => fault.label(format!("did you mean `{prefix}{known}`?")),
            None => {
                let known = list(self.parameters.keys().map(String::as_str));
                fault.help(format!("parameters are the variables of this file and {known}"))
            }
        }
    }

    fn syntax(&self, error: &ParserError, origin: &Located<String>) -> Diagnostic {
        let text = match error {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
            ParserError::RecursionLimitExceeded => "nested too deeply",
        };
        let (message, at) = match text.rsplit_once(" at Line: ") {
            Some((message, position)) => {
                let mut numbers = position.split(", Column: ").map(|n| n.trim().parse::<u64>());
                match (numbers.next(), numbers.next()) {
                    (Some(Ok(line)), Some(Ok(column))) => (message, self.at(origin, line, column)),
                    _ => (text, origin.at),
                }
            }
            None => (text, origin.at),
        };
        let message = match message.strip_prefix("Expected: ") {
            Some(rest) => format!("expected {}", rest.replace(", found: ", ", found `") + "`"),
            None => message.to_owned(),
        };
        let fault = Diagnostic::error(Code::SqlSyntax, format!("SQL: {message}"), at);
        let line = self.file.lines().nth(origin.at.line.saturating_sub(1)).unwrap_or_default();
        match line.contains(" #") && !origin.value.contains(" #") {
            true => fault.help("` #` begins a comment: quote the text as a whole, or write it as a block after `|`"),
            false => fault,
        }
    }

    /// Returns a place in a SQL text, or that of the whole text when YAML changed it.
    fn at(&self, origin: &Located<String>, line: u64, column: u64) -> Mark {
        place(&self.file, origin, line, column).unwrap_or(origin.at)
    }

    /// Returns where a word stands that SQL has at `start`.
    fn word_at(&self, word: &str, start: (u64, u64), origin: &Located<String>) -> Mark {
        match place(&self.file, origin, start.0, start.1) {
            Some(at) => Mark { len: word.chars().count().max(1), ..at },
            None => self.find(word, origin),
        }
    }

    /// Finds a word in the file's lines of a SQL text, for mistakes that come without a place.
    pub fn find(&self, word: &str, origin: &Located<String>) -> Mark {
        find_word(&self.file, origin, word).unwrap_or(origin.at)
    }

    /// Turns a mistake that the planner found into one with a place in the file.
    fn fault(&self, error: &DataFusionError, origin: &Located<String>) -> Diagnostic {
        let span = error.diagnostic().and_then(|d| d.span);
        let word_at = |word: &str| match span {
            Some(span) => self.word_at(word, (span.start.line, span.start.column), origin),
            None => self.find(word, origin),
        };
        let root = error.find_root();
        if let DataFusionError::SchemaError(schema_error, _) = root
            && let SchemaError::FieldNotFound { field, valid_fields } = schema_error.as_ref()
        {
            let of = field.relation.as_ref().map(ToString::to_string);
            let mut tables: Vec<String> = valid_fields
                .iter()
                .filter_map(|c| c.relation.as_ref())
                .map(|r| r.to_string())
                .collect();
            tables.dedup();
            return match of.filter(|of| !tables.is_empty() && !tables.contains(of)) {
                Some(of) => {
                    let message = format!("no table `{of}` in this query");
                    let fault = Diagnostic::error(Code::UnknownTable, message, word_at(&of));
                    fault.suggest(&of, "its tables", tables.iter().map(String::as_str))
                }
                None => unknown_column(field.name(), valid_fields, word_at(field.name())),
            };
        }
        let message = match error.diagnostic() {
            Some(diagnostic) => diagnostic.message.clone(),
            None => root.strip_backtrace(),
        };
        let message = plain_words(&message);
        if let Some(fault) = self.named(&message, &word_at) {
            return fault;
        }
        let at = match span
            .map(|span| (span, place(&self.file, origin, span.start.line, span.start.column)))
        {
            Some((span, Some(at))) if span.start.line == span.end.line => {
                let len = span.end.column.saturating_sub(span.start.column).max(1) as usize;
                Mark { len, ..at }
            }
            Some((_, Some(at))) => at,
            _ => {
                // The last word of the message is often what it is about.
                let last = message.rsplit(' ').next().unwrap_or_default();
                let last = last.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
                self.find(last, origin)
            }
        };
        let fault = Diagnostic::error(Code::SqlPlan, message, at);
        let more: Option<Vec<&str>> = error.diagnostic().map(|diagnostic| {
            let notes = diagnostic.notes.iter().map(|note| note.message.as_str());
            notes.chain(diagnostic.helps.iter().map(|help| help.message.as_str())).collect()
        });
        match more.unwrap_or_default().as_slice() {
            [] => fault,
            more => fault.help(plain_words(&more.join("; "))),
        }
    }

    /// Gives known mistakes their code, their place and a suggestion.
    fn named(&self, message: &str, word_at: &dyn Fn(&str) -> Mark) -> Option<Diagnostic> {
        if let Some(name) = between(message, "nvalid function '", "'") {
            let state = self.session.state();
            let known: Vec<&str> = state
                .scalar_functions()
                .keys()
                .chain(state.aggregate_functions().keys())
                .chain(state.window_functions().keys())
                .map(String::as_str)
                .collect();
            let message = format!("no function `{name}`");
            let fault = Diagnostic::error(Code::UnknownFunction, message, word_at(name));
            return Some(match did_you_mean(name, known) {
                Some(near) => fault.label(format!("did you mean `{near}`?")),
                None => fault.help("functions are those of DataFusion's SQL reference"),
            });
        }
        let table = between(message, "able '", "'").filter(|_| message.contains("not found"))?;
        let name = table.trim_start_matches("datafusion.public.");
        let name = name.strip_prefix("datafusion.").unwrap_or(name);
        let known = self.tables();
        let message = format!("no node `{name}`");
        let fault = Diagnostic::error(Code::UnknownTable, message, word_at(name));
        Some(fault.suggest(name, "nodes", known.iter().map(String::as_str)))
    }

    /// Returns the tables that SQL can name: the ids of nodes and of their ports.
    pub fn tables(&self) -> Vec<String> {
        let mut names = Vec::new();
        let state = self.session.state();
        let catalog = self.session.catalog(&state.config_options().catalog.default_catalog);
        for schema_name in catalog.iter().flat_map(|catalog| catalog.schema_names()) {
            let schema = catalog.as_ref().and_then(|catalog| catalog.schema(&schema_name));
            let Some(schema) = schema else { continue };
            let prefix = if schema_name == "public" { String::new() } else { schema_name + "." };
            names.extend(schema.table_names().into_iter().map(|t| format!("{prefix}{t}")));
        }
        names.sort();
        names
    }
}

/// Makes a schema in the default catalog of a session, if there is none of that name.
pub fn add_schema(session: &SessionContext, name: &str) -> Result<(), DataFusionError> {
    let catalog = session.state().config_options().catalog.default_catalog.clone();
    if let Some(catalog) = session.catalog(&catalog).filter(|c| c.schema(name).is_none()) {
        catalog.register_schema(name, Arc::new(MemorySchemaProvider::new()))?;
    }
    Ok(())
}

/// Returns the table reference of an id or a port: `usable.rejected` is a table in a schema.
pub fn reference(id: &str) -> datafusion::common::TableReference {
    match id.split_once('.') {
        Some((node, port)) => datafusion::common::TableReference::partial(node, port),
        None => datafusion::common::TableReference::bare(id),
    }
}

fn unknown_column(name: &str, known: &[Column], at: Mark) -> Diagnostic {
    let tables: std::collections::BTreeSet<String> =
        known.iter().filter_map(|c| c.relation.as_ref().map(ToString::to_string)).collect();
    let of = match tables.iter().collect::<Vec<_>>().as_slice() {
        [one] => format!(" in `{one}`"),
        _ => String::new(),
    };
    let fault = Diagnostic::error(Code::UnknownColumn, format!("no column `{name}`{of}"), at);
    let names: Vec<&str> = known.iter().map(Column::name).collect();
    let fault = match did_you_mean(name, names.iter().copied()) {
        Some(near) => fault.label(format!("did you mean `{near}`?")),
        None => fault,
    };
    if fault.label.is_none() && name.contains([' ', '-', '@', '/']) {
        return fault.help("a text stands in single quotes, `'…'`; double quotes are for names");
    }
    if names.is_empty() { fault } else { fault.help(format!("columns are {}", list(names))) }
}

/// Writes a message of the planner in the words of the language: without its own prefixes, types
/// by our names, and nothing of how it is written in Rust.
fn plain_words(message: &str) -> String {
    const TYPES: [(&str, &str); 8] = [
        ("Utf8View", "string"),
        ("LargeUtf8", "string"),
        ("Utf8", "string"),
        ("Int64", "int"),
        ("Float64", "float"),
        ("Boolean", "bool"),
        ("Date32", "date"),
        ("Timestamp(Microsecond, Some(\"UTC\"))", "timestamp"),
    ];
    let prefixes = ["Error during planning: ", "This feature is not implemented: "];
    let mut plain = message.to_owned();
    for prefix in prefixes {
        plain = plain.replace(prefix, "");
    }
    for (theirs, ours) in TYPES {
        plain = plain.replace(theirs, ours);
    }
    // A tree of the parser, as `Substring { expr: Identifier(Ident { value: …`.
    let debug = plain.find(" { ").filter(|_| plain.contains("span: Span("));
    if let Some(start) = debug {
        let end = plain[..start].rfind(' ').unwrap_or(start);
        plain.truncate(end);
    }
    let mut letters = plain.chars();
    match (letters.next(), letters.clone().next()) {
        // A name such as SQL stays as it is.
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => plain,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// Writes a value as a typed literal of SQL.
fn literal(value: &Value, span: sqlparser::tokenizer::Span) -> ast::Expr {
    let plain = |value| ast::Expr::Value(ast::ValueWithSpan { value, span });
    let text = |text: &str| plain(ast::Value::SingleQuotedString(text.to_owned()));
    let typed = |data_type, shown: &str| {
        ast::Expr::TypedString(ast::TypedString {
            data_type,
            value: ast::ValueWithSpan {
                value: ast::Value::SingleQuotedString(shown.to_owned()),
                span,
            },
            uses_odbc_syntax: false,
        })
    };
    match value {
        Value::String(s) => text(s),
        Value::Bool(b) => plain(ast::Value::Boolean(*b)),
        Value::Int(n) => plain(ast::Value::Number(n.to_string(), false)),
        Value::Float(n) => {
            let number = plain(ast::Value::Number(format!("{n:?}"), false));
            ast::Expr::Nested(Box::new(number))
        }
        Value::Date(date) => typed(ast::DataType::Date, &date.to_string()),
        Value::Timestamp(moment) => typed(
            ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
            moment.to_string().trim_end_matches('Z'),
        ),
        Value::Interval(interval) => ast::Expr::Interval(ast::Interval {
            value: Box::new(text(interval)),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        }),
    }
}
