//! Made-up people and bodies: a name that nobody has, a birthday, an address nowhere.
//!
//! Surnames are three syllables of the sandbox's own words, or `SPECIMEN`; most people have
//! `Specimen` for a middle name too. Forms are those found in the register: `SURNAME, Forename
//! Middle`, with titles, hyphens, apostrophes, letters beyond ASCII, and a few without a comma.

use serde_json::{Value, json};

use super::super::names::write_word;
use super::super::rng::Rng;
use super::super::vocabulary::{
    AREAS, COUNTIES, COUNTRIES, ENDS, STREET_TYPES, STREET_WORDS, TOWN_ENDS, TOWN_HEADS,
};
use super::reply::{id, titled};

/// Somebody who can be an officer.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Person {
    /// As in the list of officers.
    pub name: String,
    /// The part of `links.officer.appointments` that is theirs.
    pub id: String,
    /// `person_number`.
    pub number: String,
    /// What a person has.
    pub natural: Option<Natural>,
}

/// What is known of a person and of no body.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Natural {
    /// Years from birth to the first appointment.
    pub age: i32,
    /// The year of birth, once there is an appointment to count from.
    pub born: Option<i32>,
    /// The month of birth.
    pub month: u32,
    pub nationality: &'static str,
    pub residence: &'static str,
    pub occupation: &'static str,
}

impl Person {
    /// Makes up a person.
    pub(in crate::sandbox) fn natural(rng: &mut Rng) -> Self {
        let name = natural_name(rng);
        let is_foreign = rng.chance(170_000);
        let natural = Natural {
            age: 21 + (rng.below(22) + rng.below(22)).cast_signed(),
            born: None,
            month: 1 + rng.below(12),
            nationality: match is_foreign {
                true => rng.pick(&["Irish", "French", "German", "Polish", "Indian", "American"]),
                false => rng.pick(&["British", "British", "British", "English", "Scottish"]),
            },
            residence: match is_foreign && rng.chance(500_000) {
                true => rng.pick(&["Ireland", "France", "Germany", "United States"]),
                false => rng.pick(&["United Kingdom", "England", "England", "Scotland", "Wales"]),
            },
            occupation: rng.pick(&OCCUPATIONS),
        };
        Self::named(name, Some(natural), rng)
    }

    /// Makes up a body.
    pub(in crate::sandbox) fn corporate(rng: &mut Rng) -> Self {
        let what = rng.pick(&["NOMINEES", "SECRETARIES", "HOLDINGS", "DIRECTORS", "TRUSTEES"]);
        let form = rng.pick(&["LIMITED", "LIMITED", "LTD", "PLC", "LLP"]);
        let name = format!("{} {what} SPECIMEN {form}", surname_word(rng));
        Self::named(name, None, rng)
    }

    fn named(name: String, natural: Option<Natural>, rng: &mut Rng) -> Self {
        let number = 990_000_000_000 + (rng.bits() >> 16) % 9_999_990_000;
        Self { name, id: id(rng, 27), number: number.to_string(), natural }
    }
}

const OCCUPATIONS: [&str; 12] = [
    "Director",
    "Director",
    "Company Director",
    "Company Director",
    "Accountant",
    "Engineer",
    "Consultant",
    "Builder",
    "Managing Director",
    "Teacher",
    "None",
    "Retired",
];

fn natural_name(rng: &mut Rng) -> String {
    let word = surname_word(rng);
    let surname = match rng.below(100) {
        0..=14 => "SPECIMEN".to_owned(),
        15..=19 => format!("{word}-SPECIMEN"),
        20..=22 => format!("O'{word}"),
        23..=24 => format!("DE {word}"),
        25..=27 => word.replacen('E', "É", 1).replacen('O', "Ö", 1),
        _ => word,
    };
    if rng.chance(8_000) {
        return surname;
    }
    let mut name = format!("{surname}, {}", forename(rng));
    match rng.below(100) {
        0..=59 => name.push_str(" Specimen"),
        60..=74 => {
            name.push(' ');
            name.push_str(&forename(rng));
        }
        75..=79 => {
            name.push(' ');
            name.push_str(&forename(rng));
            name.push_str(" Specimen");
        }
        _ => {}
    }
    if rng.chance(30_000) {
        name.push_str(rng.pick(&[", Dr", ", Sir", ", Professor", ", Lady"]));
    }
    name
}

/// Two syllables are a real surname now and then; three are hardly ever.
fn surname_word(rng: &mut Rng) -> String {
    let mut word = Vec::new();
    write_word(&mut word, rng);
    word.extend_from_slice(rng.pick(&ENDS).as_bytes());
    String::from_utf8(word).unwrap_or_default()
}

fn forename(rng: &mut Rng) -> String {
    let mut word = Vec::new();
    write_word(&mut word, rng);
    let word = titled(&String::from_utf8(word).unwrap_or_default());
    match rng.below(100) {
        0..=1 => word.replacen('e', "é", 1),
        2..=3 => format!("{word}-Specimen"),
        _ => word,
    }
}

/// Makes up an address in an area that does not exist.
pub(in crate::sandbox) fn address(rng: &mut Rng) -> Value {
    let town = rng.below(40) as usize;
    let street = format!("{} {}", rng.pick(&STREET_WORDS), rng.pick(&STREET_TYPES));
    let letters = ["AB", "DE", "FG", "HJ", "LN", "PQ", "RS", "TU", "WX", "YZ"];
    let (area, pair) = (AREAS[town % AREAS.len()], rng.pick(&letters));
    let mut address = json!({
        "premises": (1 + rng.below(299)).to_string(),
        "address_line_1": titled(&street),
        "locality": titled(&format!("{}{}", TOWN_HEADS[town], rng.pick(&TOWN_ENDS))),
        "postal_code": format!("{area}{} {}{pair}", 1 + rng.below(19), rng.below(10)),
    });
    if rng.chance(600_000) {
        address["country"] = rng.pick(&["United Kingdom", "England", "Scotland"]).into();
    }
    if rng.chance(350_000) {
        address["region"] = titled(COUNTIES[town / 2 % COUNTIES.len()]).into();
    }
    address
}

/// Makes up what identifies a body: where it is registered, as what, under which number.
pub(in crate::sandbox) fn identification(role: &str, rng: &mut Rng) -> Value {
    // 9 and eight figures more: a form in which nothing is numbered.
    let number = format!("9{:08}", rng.below(99_999_999));
    if role == "corporate-managing-officer" {
        return json!({
            "identification_type": "registered-overseas-entity-corporate-managing-officer",
            "legal_authority": titled(rng.pick(&COUNTRIES)),
            "legal_form": "Private Limited Company",
            "place_registered": "Specimen Registry",
            "registration_number": number,
        });
    }
    match rng.below(10) {
        0..=5 => json!({
            "identification_type": "uk-limited-company",
            "registration_number": number,
        }),
        6..=7 => json!({
            "identification_type": "other-corporate-body-or-firm",
            "legal_authority": "Companies Act 2006",
            "legal_form": "Limited Company",
            "place_registered": "Specimen Register",
            "registration_number": number,
        }),
        8 => json!({ "identification_type": "eea", "registration_number": number }),
        _ => json!({
            "identification_type": "non-eea",
            "legal_form": "Corporation",
            "legal_authority": titled(rng.pick(&COUNTRIES)),
        }),
    }
}
