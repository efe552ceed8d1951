//! `companies_house_officers`: the officers of a company, as the register has them today.

use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::companies_house::{Register, check_profile, key, number_of};
use super::json::{Field, Found, Member, Read, columns, parse, row};
use super::{BuildLookup, Key, Lookup, LookupColumn, Verdict};
use crate::context::BuildContext;
use crate::net::{Request, Response};
use crate::spec::{Code, Diagnostic, Located, Row, Secret, Text};
use crate::table::ColumnType::{Bool, Date, String as Words};

/// The most pages that are read for a company.
const PAGES: u64 = 100;

/// Asks Companies House for the officers of a company: a row for each appointment, with columns
/// that begin with `officer_`. `by` is the number of the company; zeros that a spreadsheet took
/// away are put back.
///
/// `officer_surname`, `officer_forenames` and `officer_title` are the parts of a name written
/// `SURNAME, Forenames` or `SURNAME, Forenames, Title`; they are null for corporate officers and
/// for names without a comma, of which nobody can tell the parts. An officer is active who has
/// not resigned, unless the register counts no active officers for the company: those of a
/// dissolved company never resigned.
///
/// ```yaml
/// enrich:
///   companies_house_officers: { key: "${secret:CH_API_KEY}", active: true }
/// by: [company_number]
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompaniesHouseOfficers {
    /// The key of the API, as `${secret:NAME}`.
    pub key: Secret,
    /// Where the API is; `https://api.company-information.service.gov.uk` otherwise.
    #[serde(default)]
    pub base_url: Option<Text>,
    /// Whether only officers in office are wanted; all otherwise.
    #[serde(default)]
    pub active: bool,
    /// How many officers are asked for at once, 10 to 500; 100 otherwise.
    #[serde(default)]
    pub items_per_page: Option<Located<u32>>,
}

impl BuildLookup for CompaniesHouseOfficers {
    fn build(
        &self,
        by: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Lookup>> {
        let items_per_page = self.items_per_page.as_ref();
        if let Some(n) = items_per_page.filter(|n| !(10..=500).contains(&n.value)) {
            let message = format!("{} items a page; 10 to 500 can be asked for", n.value);
            context.found.push(Diagnostic::error(Code::BadValue, message, n.at));
        }
        let register = Register::build(&self.key, self.base_url.as_ref(), by, context)?;
        let wanted = if self.active { Wanted::Active } else { Wanted::All };
        let items_per_page = items_per_page.map_or(100, |n| n.value);
        Some(Arc::new(Officers { register, wanted, items_per_page, columns: columns(FIELDS) }))
    }
}

/// The columns. No name is one of the register of companies.
const FIELDS: &[Field] = &[
    ("officer_id", Read::Made(Words, officer_id)),
    ("person_id", Read::Made(Words, person_id)),
    ("officer_name", Read::Made(Words, |o| Ok(Some(needed(o, "name")?)))),
    ("officer_title", Read::Made(Words, |o| name_part(o, 2))),
    ("officer_forenames", Read::Made(Words, |o| name_part(o, 1))),
    ("officer_surname", Read::Made(Words, |o| name_part(o, 0))),
    ("officer_role", Read::Made(Words, |o| Ok(Some(needed(o, "officer_role")?)))),
    ("officer_is_corporate", Read::Made(Bool, |o| Ok(Some(is_corporate(o)?.to_string())))),
    ("appointed_on", Read::At(Date, "appointed_on")),
    ("appointed_before", Read::At(Date, "appointed_before")),
    ("is_pre_1992_appointment", Read::At(Bool, "is_pre_1992_appointment")),
    ("resigned_on", Read::At(Date, "resigned_on")),
    ("officer_is_active", Read::Made(Bool, |o| Ok(Some(is_active(o)?.to_string())))),
    ("nationality", Read::At(Words, "nationality")),
    ("country_of_residence", Read::At(Words, "country_of_residence")),
    ("occupation", Read::At(Words, "occupation")),
    ("birth_year", Read::Digits("date_of_birth.year")),
    ("birth_month", Read::Digits("date_of_birth.month")),
    ("person_number", Read::At(Words, "person_number")),
    ("officer_care_of", Read::At(Words, "address.care_of")),
    ("officer_po_box", Read::At(Words, "address.po_box")),
    ("officer_premises", Read::At(Words, "address.premises")),
    ("officer_address_line_1", Read::At(Words, "address.address_line_1")),
    ("officer_address_line_2", Read::At(Words, "address.address_line_2")),
    ("officer_locality", Read::At(Words, "address.locality")),
    ("officer_region", Read::At(Words, "address.region")),
    ("officer_country", Read::At(Words, "address.country")),
    ("officer_postal_code", Read::At(Words, "address.postal_code")),
    ("officer_identification_type", Read::At(Words, "identification.identification_type")),
    ("officer_legal_authority", Read::At(Words, "identification.legal_authority")),
    ("officer_legal_form", Read::At(Words, "identification.legal_form")),
    ("officer_place_registered", Read::At(Words, "identification.place_registered")),
    ("officer_registration_number", Read::At(Words, "identification.registration_number")),
    ("officer_former_names", Read::Made(Words, former_names)),
    ("officer_responsibilities", Read::At(Words, "responsibilities")),
    ("officer_contact_name", Read::At(Words, "contact_details.contact_name")),
    ("officer_etag", Read::At(Words, "etag")),
    ("identity_verified_on", Read::Until("identity_verification_details.identity_verified_on")),
    (
        "identity_verification_due_on",
        Read::Until("identity_verification_details.appointment_verification_statement_due_on"),
    ),
    (
        "identity_verification_starts_on",
        Read::Until("identity_verification_details.appointment_verification_start_on"),
    ),
    (
        "identity_verification_ends_on",
        Read::Until("identity_verification_details.appointment_verification_end_on"),
    ),
    (
        "identity_verified_by",
        Read::At(Words, "identity_verification_details.authorised_corporate_service_provider_name"),
    ),
    ("officer_preferred_name", Read::At(Words, "identity_verification_details.preferred_name")),
];

/// The officers of a company.
#[derive(Debug)]
struct Officers {
    register: Register,
    wanted: Wanted,
    items_per_page: u32,
    columns: Vec<LookupColumn>,
}

/// Which officers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Active,
}

/// What a request was for; it travels with the request.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A page of officers.
    Page(Page),
    /// Whether the register knows a company without officers.
    Known,
}

/// How far the officers of a company are read.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// Pages that were read before.
    n_read: u64,
    /// Officers that were on them.
    n_items: u64,
    /// How many there are, as the first of them said.
    total: Option<u64>,
    /// Whether the list changed under the first reading.
    is_second_reading: bool,
}

impl Lookup for Officers {
    fn columns(&self) -> &[LookupColumn] {
        &self.columns
    }

    fn identity(&self) -> String {
        let active = if self.wanted == Wanted::Active { " active" } else { "" };
        format!("companies_house_officers 1 {}{active}", self.register.base.join(""))
    }

    fn server(&self) -> &str {
        self.register.base.server()
    }

    fn key(&self, values: &[&str]) -> Result<Key, String> {
        key(values)
    }

    fn ask(&self, key: &Key) -> Request {
        self.get_page(key, Page::default())
    }

    fn read(
        &self,
        key: &Key,
        request: &Request,
        response: &Response,
        rows: &mut Vec<Row>,
    ) -> Verdict {
        let read = match request.extensions().get() {
            Some(Step::Known) => self.read_known(key, response),
            Some(Step::Page(page)) => self.read_page(key, *page, response, rows),
            None => self.read_page(key, Page::default(), response, rows),
        };
        read.unwrap_or_else(|verdict| verdict)
    }
}

impl Officers {
    fn get_page(&self, key: &Key, page: Page) -> Request {
        let active = if self.wanted == Wanted::Active { "&filter=active" } else { "" };
        let path = format!(
            "/company/{}/officers?items_per_page={}&start_index={}{active}",
            number_of(key),
            self.items_per_page,
            page.n_items
        );
        let mut request = self.register.get(&path);
        request.extensions_mut().insert(Step::Page(page));
        request
    }

    /// No officers and no such company look alike: only the company itself tells.
    fn get_known(&self, key: &Key) -> Verdict {
        let mut request = self.register.get_profile(key);
        request.extensions_mut().insert(Step::Known);
        Verdict::Next(Box::new(request))
    }

    fn read_known(&self, key: &Key, response: &Response) -> Result<Verdict, Verdict> {
        self.register.judge(response)?;
        let document = parse(response.body()).map_err(Verdict::Passing)?;
        check_profile(&Member::whole(&document), key).map_err(Verdict::Passing)?;
        Ok(Verdict::Missing("none"))
    }

    fn read_page(
        &self,
        key: &Key,
        page: Page,
        response: &Response,
        rows: &mut Vec<Row>,
    ) -> Result<Verdict, Verdict> {
        match self.register.judge(response) {
            Err(Verdict::Missing(_)) if page.n_items == 0 => return Ok(self.get_known(key)),
            Err(Verdict::Missing(_)) => {
                return Err(Verdict::Passing("404 in the middle of the list".to_owned()));
            }
            judged => judged?,
        }
        let document = parse(response.body()).map_err(Verdict::Passing)?;
        let list = Member::whole(&document);
        let list = List::read(&list, page, self.wanted).map_err(Verdict::Passing)?;
        let n_read = page.n_read + 1;
        if page.total.is_some_and(|total| total != list.total) && !page.is_second_reading {
            // An officer came or went, and others moved over the edge of a page.
            rows.clear();
            let page = Page { n_read, is_second_reading: true, ..Page::default() };
            return Ok(Verdict::Next(Box::new(self.get_page(key, page))));
        }
        let n_items = page.n_items + list.n_items;
        if !list.is_last && n_read >= PAGES {
            let reason = format!("more than {PAGES} pages: {n_items} of {} officers", list.total);
            return Err(Verdict::Passing(reason));
        }
        add(list.rows, rows);
        if !list.is_last {
            let page = Page { n_read, n_items, total: Some(list.total), ..page };
            return Ok(Verdict::Next(Box::new(self.get_page(key, page))));
        }
        Ok(match rows.is_empty() {
            false => Verdict::Answer,
            true if n_items > 0 || list.n_counted > 0 => Verdict::Missing("none"),
            true => self.get_known(key),
        })
    }
}

/// Adds rows whose officers are not there yet.
fn add(page: Vec<Row>, rows: &mut Vec<Row>) {
    let mut known: HashSet<Option<String>> =
        rows.iter().map(|row| row.first().cloned().flatten()).collect();
    for row in page {
        if known.insert(row.first().cloned().flatten()) {
            rows.push(row);
        }
    }
}

/// What a page of officers says.
struct List {
    /// Those of its officers that are wanted.
    rows: Vec<Row>,
    /// How many officers are on it.
    n_items: u64,
    /// How many there are on all pages.
    total: u64,
    /// How many the company has or had, whatever was asked for.
    n_counted: u64,
    /// Whether there is nothing behind it.
    is_last: bool,
}

impl List {
    fn read(list: &Member<'_>, page: Page, wanted: Wanted) -> Result<Self, String> {
        let total = list.needed(count(list, "total_results")?, "total_results")?;
        let items = list.needed(list.list("items")?, "items")?;
        let active = count(list, "active_count")?;
        let mut n_counted = active.unwrap_or(0);
        for name in ["inactive_count", "resigned_count"] {
            n_counted = n_counted.saturating_add(count(list, name)?.unwrap_or(0));
        }
        let start = count(list, "start_index")?;
        if start.is_some_and(|start| start != page.n_items) && !items.is_empty() {
            return Err(format!("`$.start_index` is not {}, as asked for", page.n_items));
        }
        let n_items = items.len() as u64;
        let n_so_far = page.n_items + n_items;
        let is_filtered = wanted == Wanted::Active && active.is_some_and(|n| n_so_far >= n);
        // With a filter the total may still be that of all officers.
        if n_items == 0 && n_so_far < total && !is_filtered {
            return Err(format!("`$.items` is empty after {n_so_far} of {total}"));
        }
        let mut rows = Vec::new();
        for item in items {
            if !item.value().is_object() {
                return item.wrong("", "an object");
            }
            // A server may not know the filter.
            let read = row(FIELDS, &item)?;
            if wanted == Wanted::All || is_active(&item)? {
                rows.push(read);
            }
        }
        let is_last = n_items == 0 || n_so_far >= total;
        Ok(Self { rows, n_items, total, n_counted, is_last })
    }
}

fn count(list: &Member<'_>, name: &str) -> Result<Option<u64>, String> {
    match list.int(name)?.map(u64::try_from) {
        None => Ok(None),
        Some(Ok(count)) => Ok(Some(count)),
        Some(Err(_)) => list.wrong(name, "a count"),
    }
}

fn needed(officer: &Member<'_>, name: &str) -> Result<String, String> {
    officer.needed(officer.text(name)?, name)
}

/// Returns the id of the appointment: that of its link, or else one that stays the same as long
/// as nobody changes name, role, start or birth.
fn officer_id(officer: &Member<'_>) -> Found {
    if let Some(link) = officer.text("links.self")? {
        return match after(&link, "appointments") {
            Some(id) => Ok(Some(id.to_owned())),
            None => officer.wrong("links.self", "the link of an appointment"),
        };
    }
    let start = officer.day("appointed_on")?.or(officer.day("appointed_before")?);
    let birth = (officer.digits("date_of_birth.year")?, officer.digits("date_of_birth.month")?);
    let (name, role) = (needed(officer, "name")?, needed(officer, "officer_role")?);
    let hash = Sha256::digest(format!("{name}\n{role}\n{start:?}\n{birth:?}"));
    let hex: String = hash.iter().take(14).map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(hex.chars().take(27).collect()))
}

/// Returns the id of the person, who may have other appointments.
fn person_id(officer: &Member<'_>) -> Found {
    let path = "links.officer.appointments";
    let Some(link) = officer.text(path)? else { return Ok(None) };
    match after(&link, "officers") {
        Some(id) => Ok(Some(id.to_owned())),
        None => officer.wrong(path, "the link of a person"),
    }
}

/// Returns the part of a link that follows another.
fn after<'a>(link: &'a str, part: &str) -> Option<&'a str> {
    let mut parts = link.split('/').skip_while(|p| *p != part).skip(1);
    parts.next().filter(|id| !id.is_empty())
}

fn is_corporate(officer: &Member<'_>) -> Result<bool, String> {
    let role = needed(officer, "officer_role")?;
    Ok(officer.object("identification")?.is_some() || role.starts_with("corporate-"))
}

/// The officers of a dissolved company did not resign: the register counts them as inactive.
fn is_active(officer: &Member<'_>) -> Result<bool, String> {
    let list = officer.document();
    let is_counted =
        count(&list, "active_count")? != Some(0) || count(&list, "inactive_count")? == Some(0);
    Ok(is_counted && officer.day("resigned_on")?.is_none())
}

/// Returns surname, forenames or title of a name written `SURNAME, Forenames, Title`.
fn name_part(officer: &Member<'_>, part: usize) -> Found {
    let name = needed(officer, "name")?;
    let parts: Vec<&str> = name.split(',').map(str::trim).collect();
    let [surname, forenames, title] = match parts.as_slice() {
        _ if is_corporate(officer)? => return Ok(None),
        [surname, forenames] => [*surname, forenames, ""].map(str::to_owned),
        [surname, forenames @ .., title] if !forenames.is_empty() => {
            [(*surname).to_owned(), forenames.join(", "), (*title).to_owned()]
        }
        _ => return Ok(None),
    };
    let part = [surname, forenames, title].into_iter().nth(part);
    Ok(part.filter(|part| !part.is_empty()))
}

/// Returns former names as `Forenames SURNAME; Forenames SURNAME`.
fn former_names(officer: &Member<'_>) -> Found {
    let mut names = Vec::new();
    for name in officer.list("former_names")?.unwrap_or_default() {
        let parts = [name.text("forenames")?, name.text("surname")?];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            names.push(parts.join(" "));
        }
    }
    Ok(Some(names.join("; ")).filter(|names| !names.is_empty()))
}
