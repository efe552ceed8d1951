//! Who the officers of a company are, and since when: decided by seed and number alone.
//!
//! The whole life of a board is drawn at once; what lies after the day of the request is not shown
//! yet. So a company has the same people in every snapshot and at every hour, and they come and go
//! as time passes. Most companies have one to four, one in a hundred none, one in a hundred 40 to
//! 120. Charities and the like have none: the register knows none of theirs.

use serde_json::{Value, json};

use super::super::calendar::Date;
use super::super::rng::{Rng, mix};
use super::company::{Company, column};
use super::person::{self, Person};
use super::reply::{id, iso, put};
use super::{officers::Kind, profile};

/// One appointment.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Officer {
    pub person: Person,
    pub role: &'static str,
    /// What register of the company the role belongs to.
    pub kind: Kind,
    pub appointed: Date,
    pub resigned: Option<Date>,
    /// The appointment's own id.
    pub id: String,
    /// The rest of what is shown, ready made.
    more: Value,
}

/// The register tells no day of appointment before.
const FIRST_TOLD: (i32, u32, u32) = (1992, 1, 1);

/// Returns the random numbers of a company for one purpose.
pub(in crate::sandbox) fn stream(seed: u64, number: &str, purpose: u64) -> Rng {
    let bytes = number.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
    Rng::from_bits(bytes ^ mix(purpose))
}

/// Returns the officers of a company as of `today`, the resigned ones among them, the latest
/// appointment first and who is still there before who is not.
pub(in crate::sandbox) fn officers(seed: u64, company: &Company, today: Date) -> Vec<Officer> {
    let Some(incorporated) = company.incorporated() else { return Vec::new() };
    let mut rng = stream(seed, company.number(), 1);
    let span = Span::of(incorporated);
    let n = size(&mut rng);
    let mut all: Vec<Officer> = Vec::new();
    while all.len() < n {
        let seat = Seat::drawn(company, all.len(), &mut rng);
        // One in sixteen is somebody who is there already, in another role, from then on or later.
        let known = all.last().filter(|_| seat.is_natural && rng.chance(60_000));
        let known = known.filter(|last| last.person.natural.is_some() && last.role != seat.role);
        let (person, earliest) = match known {
            Some(last) => (last.person.clone(), last.appointed),
            None if seat.is_natural => (Person::natural(&mut rng), span.from),
            None => (Person::corporate(&mut rng), span.from),
        };
        let is_founder = all.is_empty() || rng.chance(350_000);
        let appointed = if is_founder { span.from } else { span.day(&mut rng) };
        let officer = Officer::drawn(person, seat, appointed.max(earliest), company, &mut rng);
        all.push(officer);
    }
    all.retain(|officer| officer.appointed <= today);
    for officer in &mut all {
        officer.resigned = officer.resigned.filter(|day| *day <= today);
    }
    sort(&mut all);
    all
}

/// Puts officers into the list's own order.
pub(in crate::sandbox) fn sort(officers: &mut [Officer]) {
    officers.sort_by_key(|officer| {
        (officer.resigned.is_some(), std::cmp::Reverse(officer.appointed.days()))
    });
}

/// How many appointments a company ever has, as far as anybody is shown.
fn size(rng: &mut Rng) -> usize {
    let n = match rng.below(1000) {
        0..=9 => 0,
        10..=379 => 1,
        380..=669 => 2,
        670..=839 => 3,
        840..=919 => 4,
        920..=989 => 5 + rng.below(8),
        _ => 40 + rng.below(81),
    };
    n as usize
}

/// The days in which appointments fall.
struct Span {
    from: Date,
    days: u32,
}

impl Span {
    /// From incorporation to 2026, when the sandbox's months are counted from; two months for a
    /// younger company. Nobody's appointment is told from before 1970.
    fn of(incorporated: Date) -> Self {
        let from = incorporated.max(Date::from_days(0));
        let end = Date::month_start(2026 * 12).max(from.plus_days(60));
        Self { from, days: (end.days() - from.days()).unsigned_abs() }
    }

    fn day(&self, rng: &mut Rng) -> Date {
        self.from.plus_days(rng.below(self.days).cast_signed())
    }
}

/// A role to be filled.
struct Seat {
    role: &'static str,
    kind: Kind,
    is_natural: bool,
    is_first: bool,
}

impl Seat {
    fn drawn(company: &Company, n: usize, rng: &mut Rng) -> Self {
        let is_natural = !rng.chance(60_000);
        let is_first = n == 0;
        let (kind, natural, corporate) = match company.text(column::CATEGORY) {
            "Limited Liability Partnership" if is_first || rng.chance(600_000) => {
                (Kind::Member, "llp-designated-member", "corporate-llp-designated-member")
            }
            "Limited Liability Partnership" => (Kind::Member, "llp-member", "corporate-llp-member"),
            // The spec has no corporate partners; as people they are in it.
            "Limited Partnership" | "Scottish Partnership" => {
                let role = match is_first || rng.chance(200_000) {
                    true => "general-partner-in-a-limited-partnership",
                    false => "limited-partner-in-a-limited-partnership",
                };
                return Self { role, kind: Kind::Other, is_natural: true, is_first };
            }
            "Overseas Entity" => (Kind::Other, "managing-officer", "corporate-managing-officer"),
            _ if !is_first && rng.chance(220_000) => {
                (Kind::Secretary, "secretary", "corporate-secretary")
            }
            _ if rng.chance(4_000) => {
                (Kind::Director, "nominee-director", "corporate-nominee-director")
            }
            _ => (Kind::Director, "director", "corporate-director"),
        };
        let is_natural = is_natural && !(kind == Kind::Secretary && rng.chance(200_000));
        Self { role: if is_natural { natural } else { corporate }, kind, is_natural, is_first }
    }
}

impl Officer {
    /// Makes up somebody who is appointed on a day and stays.
    pub(in crate::sandbox) fn appointed(company: &Company, day: Date, rng: &mut Rng) -> Self {
        let seat = Seat::drawn(company, 1, rng);
        let person = match seat.is_natural {
            true => Person::natural(rng),
            false => Person::corporate(rng),
        };
        let mut officer = Self::drawn(person, seat, day, company, rng);
        officer.resigned = None;
        officer
    }

    /// Gives the officer another address.
    pub(in crate::sandbox) fn move_away(&mut self, rng: &mut Rng) {
        self.more["address"] = person::address(rng);
    }

    fn drawn(
        mut person: Person,
        seat: Seat,
        appointed: Date,
        company: &Company,
        rng: &mut Rng,
    ) -> Self {
        // The first one is there to stay, mostly: companies without any officer are rare.
        let leaves = rng.chance(if seat.is_first { 40_000 } else { 300_000 });
        let resigned = leaves.then(|| appointed.plus_days(90 + rng.below(3650).cast_signed()));
        let mut more = json!({});
        let address = match rng.chance(600_000) {
            true => profile::address(company),
            false => person::address(rng),
        };
        put(&mut more, "address", Some(address));
        let is_director = matches!(seat.kind, Kind::Director | Kind::Member | Kind::Other);
        match &mut person.natural {
            Some(natural) if is_director => {
                let born = appointed.parts().0 - natural.age;
                let born = *natural.born.get_or_insert(born);
                let birth = json!({ "month": natural.month, "year": born });
                put(&mut more, "date_of_birth", Some(birth));
                put(&mut more, "nationality", Some(natural.nationality));
                put(&mut more, "country_of_residence", Some(natural.residence));
                let occupation = (seat.kind == Kind::Director).then_some(natural.occupation);
                put(&mut more, "occupation", occupation);
            }
            Some(_) => {}
            None => {
                let identification = person::identification(seat.role, rng);
                put(&mut more, "identification", Some(identification));
                if seat.role == "corporate-managing-officer" {
                    let contact = json!({ "contact_name": Person::natural(rng).name });
                    put(&mut more, "contact_details", Some(contact));
                    put(&mut more, "principal_office_address", Some(person::address(rng)));
                    put(&mut more, "responsibilities", Some("Specimen of responsibilities"));
                }
            }
        }
        put(&mut more, "identity_verification_details", verification(&person, appointed, rng));
        let id = id(rng, 27);
        Self { person, role: seat.role, kind: seat.kind, appointed, resigned, id, more }
    }

    /// Returns the officer as one of the list's items.
    pub(in crate::sandbox) fn shown(&self, number: &str) -> Value {
        let mut item = self.more.clone();
        let is_old = Date::new(FIRST_TOLD.0, FIRST_TOLD.1, FIRST_TOLD.2)
            .is_some_and(|first| self.appointed < first);
        let day = iso(self.appointed);
        put(&mut item, if is_old { "appointed_before" } else { "appointed_on" }, Some(day));
        put(&mut item, "is_pre_1992_appointment", Some(is_old));
        put(&mut item, "resigned_on", self.resigned.map(iso));
        put(&mut item, "name", Some(self.person.name.as_str()));
        put(&mut item, "officer_role", Some(self.role));
        put(&mut item, "person_number", Some(self.person.number.as_str()));
        let links = json!({
            "self": format!("/company/{number}/appointments/{}", self.id),
            "officer": { "appointments": format!("/officers/{}/appointments", self.person.id) },
        });
        put(&mut item, "links", Some(links));
        let etag = super::reply::etag(&item);
        put(&mut item, "etag", Some(etag));
        item
    }
}

/// Identity verification, asked for since November 2025: due, or done and open at its end.
fn verification(person: &Person, appointed: Date, rng: &mut Rng) -> Option<Value> {
    person.natural.as_ref()?;
    let from = Date::new(2025, 11, 18)?;
    match rng.below(10) {
        0..=3 => {
            let due = from.plus_days(14 + rng.below(365).cast_signed()).max(appointed);
            Some(json!({ "appointment_verification_statement_due_on": iso(due) }))
        }
        4..=5 => {
            let start = from.plus_days(rng.below(10).cast_signed()).max(appointed);
            Some(json!({
                "appointment_verification_start_on": iso(start),
                "appointment_verification_end_on": "9999-12-31",
                "identity_verified_on": iso(start.plus_days(-3)),
            }))
        }
        _ => None,
    }
}
