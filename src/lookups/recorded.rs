//! Real answers of the register, when they are there, against an independent reading.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use serde_json::{Value, json};

use super::tests::{officers, profile, response, talk};
use super::{Lookup, Verdict};
use crate::table::ColumnType;

/// Where the value of a column stands in an officer.
const OFFICER: &[(&str, &str)] = &[
    ("officer_name", "/name"),
    ("officer_role", "/officer_role"),
    ("appointed_on", "/appointed_on"),
    ("appointed_before", "/appointed_before"),
    ("is_pre_1992_appointment", "/is_pre_1992_appointment"),
    ("resigned_on", "/resigned_on"),
    ("nationality", "/nationality"),
    ("country_of_residence", "/country_of_residence"),
    ("occupation", "/occupation"),
    ("birth_year", "/date_of_birth/year"),
    ("birth_month", "/date_of_birth/month"),
    ("person_number", "/person_number"),
    ("officer_care_of", "/address/care_of"),
    ("officer_po_box", "/address/po_box"),
    ("officer_premises", "/address/premises"),
    ("officer_address_line_1", "/address/address_line_1"),
    ("officer_address_line_2", "/address/address_line_2"),
    ("officer_locality", "/address/locality"),
    ("officer_region", "/address/region"),
    ("officer_country", "/address/country"),
    ("officer_postal_code", "/address/postal_code"),
    ("officer_identification_type", "/identification/identification_type"),
    ("officer_legal_authority", "/identification/legal_authority"),
    ("officer_legal_form", "/identification/legal_form"),
    ("officer_place_registered", "/identification/place_registered"),
    ("officer_registration_number", "/identification/registration_number"),
    ("officer_responsibilities", "/responsibilities"),
    ("officer_contact_name", "/contact_details/contact_name"),
    ("officer_etag", "/etag"),
    ("identity_verified_on", "/identity_verification_details/identity_verified_on"),
    (
        "identity_verification_due_on",
        "/identity_verification_details/appointment_verification_statement_due_on",
    ),
    (
        "identity_verification_starts_on",
        "/identity_verification_details/appointment_verification_start_on",
    ),
    (
        "identity_verification_ends_on",
        "/identity_verification_details/appointment_verification_end_on",
    ),
    (
        "identity_verified_by",
        "/identity_verification_details/authorised_corporate_service_provider_name",
    ),
    ("officer_preferred_name", "/identity_verification_details/preferred_name"),
];

/// Where the value of a column stands in a profile.
const PROFILE: &[(&str, &str)] = &[
    ("profile_name", "/company_name"),
    ("profile_status", "/company_status"),
    ("profile_status_detail", "/company_status_detail"),
    ("profile_type", "/type"),
    ("profile_subtype", "/subtype"),
    ("profile_is_community_interest_company", "/is_community_interest_company"),
    ("profile_jurisdiction", "/jurisdiction"),
    ("profile_created_on", "/date_of_creation"),
    ("profile_ceased_on", "/date_of_cessation"),
    ("profile_care_of", "/registered_office_address/care_of"),
    ("profile_po_box", "/registered_office_address/po_box"),
    ("profile_premises", "/registered_office_address/premises"),
    ("profile_address_line_1", "/registered_office_address/address_line_1"),
    ("profile_address_line_2", "/registered_office_address/address_line_2"),
    ("profile_locality", "/registered_office_address/locality"),
    ("profile_region", "/registered_office_address/region"),
    ("profile_country", "/registered_office_address/country"),
    ("profile_postal_code", "/registered_office_address/postal_code"),
    ("profile_accounts_next_due", "/accounts/next_accounts/due_on"),
    ("profile_accounts_next_made_up_to", "/accounts/next_accounts/period_end_on"),
    ("profile_accounts_are_overdue", "/accounts/next_accounts/overdue"),
    ("profile_accounts_last_made_up_to", "/accounts/last_accounts/period_end_on"),
    ("profile_accounts_last_type", "/accounts/last_accounts/type"),
    ("profile_confirmation_next_due", "/confirmation_statement/next_due"),
    ("profile_confirmation_next_made_up_to", "/confirmation_statement/next_made_up_to"),
    ("profile_confirmation_is_overdue", "/confirmation_statement/overdue"),
    ("profile_confirmation_last_made_up_to", "/confirmation_statement/last_made_up_to"),
    ("profile_annual_return_next_due", "/annual_return/next_due"),
    ("profile_annual_return_is_overdue", "/annual_return/overdue"),
    ("profile_annual_return_last_made_up_to", "/annual_return/last_made_up_to"),
    ("profile_last_members_list_on", "/last_full_members_list_date"),
    ("profile_has_charges", "/has_charges"),
    ("profile_has_insolvency_history", "/has_insolvency_history"),
    ("profile_has_been_liquidated", "/has_been_liquidated"),
    ("profile_has_super_secure_pscs", "/has_super_secure_pscs"),
    ("profile_can_file", "/can_file"),
    ("profile_address_is_undeliverable", "/undeliverable_registered_office_address"),
    ("profile_address_is_in_dispute", "/registered_office_is_in_dispute"),
    ("profile_partial_data", "/partial_data_available"),
    ("profile_external_registration_number", "/external_registration_number"),
    ("profile_parent_name", "/branch_company_details/parent_company_name"),
    ("profile_parent_number", "/branch_company_details/parent_company_number"),
    ("profile_branch_activity", "/branch_company_details/business_activity"),
    ("profile_foreign_registry", "/foreign_company_details/originating_registry/name"),
    ("profile_foreign_country", "/foreign_company_details/originating_registry/country"),
    ("profile_foreign_registration_number", "/foreign_company_details/registration_number"),
    ("profile_foreign_legal_form", "/foreign_company_details/company_type"),
    ("profile_foreign_activity", "/foreign_company_details/business_activity"),
    ("profile_etag", "/etag"),
];

/// Returns the value that a column must have.
fn expected(name: &str, at: &Value, list: &Value) -> Option<String> {
    let text = |pointer: &str| at.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let joined = |pointer: &str, member: &str, with: &str| {
        let items = at.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let texts = items.iter().map(|item| item.pointer(member).and_then(Value::as_str));
        texts.map(Option::unwrap_or_default).collect::<Vec<_>>().join(with)
    };
    let is_corporate =
        at.get("identification").is_some() || text("/officer_role").starts_with("corporate-");
    let name_part = |nth: usize| {
        let part = text("/name").split(", ").nth(nth).unwrap_or_default();
        if is_corporate { String::new() } else { part.to_owned() }
    };
    let known = OFFICER.iter().chain(PROFILE).find(|(known, _)| *known == name);
    let value = match (name, known) {
        (_, Some((_, pointer))) => match at.pointer(pointer) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) if text == "9999-12-31" || text == "null" => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        },
        ("officer_id", _) => text("/links/self").rsplit('/').next()?.to_owned(),
        ("person_id", _) => text("/links/officer/appointments").split('/').nth(2)?.to_owned(),
        ("officer_surname", _) => name_part(0),
        ("officer_forenames", _) => name_part(1),
        ("officer_title", _) => name_part(2),
        ("officer_is_corporate", _) => is_corporate.to_string(),
        ("officer_is_active", _) => {
            let is_counted = list.get("active_count").and_then(Value::as_u64) > Some(0);
            (is_counted && at.get("resigned_on").is_none()).to_string()
        }
        ("officer_former_names", _) => joined("/former_names", "/surname", "; "),
        ("profile_sic_codes", _) => joined("/sic_codes", "", ","),
        ("profile_previous_names", _) => joined("/previous_company_names", "/name", "; "),
        ("profile_accounts_reference_day", _) => {
            text("/accounts/accounting_reference_date/day").trim_start_matches('0').to_owned()
        }
        ("profile_accounts_reference_month", _) => {
            text("/accounts/accounting_reference_date/month").trim_start_matches('0').to_owned()
        }
        _ => panic!("nobody knows what `{name}` must be"),
    };
    Some(value).filter(|value| !value.is_empty())
}

fn compare(lookup: &dyn Lookup, row: &[Option<String>], at: &Value, list: &Value) {
    for (column, value) in lookup.columns().iter().zip(row) {
        assert_eq!(*value, expected(&column.name, at, list), "{}", column.name);
    }
}

#[test]
fn real_answers_arrive_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/rest");
    let Ok(files) = std::fs::read_dir(folder) else { return };
    let (mut n_profiles, mut n_lists, mut n_missing) = (0, 0, 0);
    for file in files.flatten() {
        let text = std::fs::read_to_string(file.path()).expect("text");
        let record: Value = serde_json::from_str(&text).expect("JSON");
        let address = record["url"].as_str().expect("an address");
        let (_, path) = address.split_once(".uk/").expect("a path");
        let path: Vec<&str> = path.split(['/', '?']).collect();
        let status = record["status_code"].as_u64().expect("a status") as u16;
        let body = record.pointer("/content/json").map(Value::to_string).unwrap_or_default();
        let (lookup, number) = match path.as_slice() {
            ["company", number] => (profile(), *number),
            ["company", number, "officers", ..] => (officers(""), *number),
            // What it says is not read, but how it says that there is nothing.
            ["company", number, ..] if status == 404 => (profile(), *number),
            _ => continue,
        };
        let number = if number == "invalid" { "INVALID1" } else { number };
        let talk = talk(&*lookup, number, |_| response(status, body.clone()));
        let json = &record["content"]["json"];
        match (talk.verdict, json["items"].as_array()) {
            (Verdict::Missing("unknown"), _) if status == 404 => n_missing += 1,
            (Verdict::Answer, Some(items)) => {
                assert_eq!(talk.rows.len(), items.len());
                for (row, item) in talk.rows.iter().zip(items) {
                    compare(&*lookup, row, item, json);
                }
                n_lists += 1;
            }
            (Verdict::Answer, None) => {
                compare(&*lookup, &talk.rows[0], json, json);
                n_profiles += 1;
            }
            (verdict, _) => panic!("{}: {verdict:?}", file.path().display()),
        }
    }
    assert!(n_profiles >= 2 && n_lists >= 1 && n_missing >= 2);
}

/// Puts a value of its own into every place that a column is read from.
fn filled(lookup: &dyn Lookup, places: &[(&str, &str)], mut document: Value) -> Value {
    for (n, (name, pointer)) in places.iter().enumerate() {
        let column = lookup.columns().iter().find(|column| column.name == *name);
        let value = match column.expect("a column").kind {
            ColumnType::Int => json!(n),
            ColumnType::Bool => json!(n % 2 == 0),
            ColumnType::Date => json!(format!("20{n:02}-01-02")),
            _ => json!(format!("{name}!")),
        };
        let mut at = &mut document;
        for member in pointer.split('/').skip(1) {
            at = &mut at[member];
        }
        *at = value;
    }
    document
}

#[test]
fn every_column_is_read_from_its_member() {
    let lookup = officers("");
    let links = json!({ "self": "/company/01234567/appointments/A", "officer": { "appointments": "/officers/P/appointments" } });
    let item = filled(&*lookup, OFFICER, json!({ "links": links }));
    let list = json!({ "total_results": 1, "active_count": 1, "items": [item] });
    let answer = talk(&*lookup, "01234567", |_| response(200, list.to_string()));
    compare(&*lookup, &answer.rows[0], &item, &list);
    let lookup = profile();
    let company = json!({
        "company_number": "01234567", "sic_codes": ["1", "2"],
        "accounts": { "accounting_reference_date": { "day": "09", "month": "10" } },
        "previous_company_names": [{ "name": "A" }, { "name": "B" }],
    });
    let company = filled(&*lookup, PROFILE, company);
    let answer = talk(&*lookup, "01234567", |_| response(200, company.to_string()));
    compare(&*lookup, &answer.rows[0], &company, &company);
}
