//! Addresses: invented streets and towns, postcodes of areas that do not exist.
//!
//! Shares of blank fields and of the quirks (missing and malformed postcodes, double spaces, a
//! backslash, redacted lines, leading spaces before a town) are those of the May 2020 sample and of
//! `companies-house.md` 1.4.

use super::numbers::Kind;
use super::rng::Rng;
use super::row::Fields;
use super::vocabulary::{
    AREAS, BUILDINGS, COUNTIES, COUNTRIES, FOREIGN_POSTCODES, STREET_TYPES, STREET_WORDS,
    TOWN_ENDS, TOWN_HEADS,
};

/// Which country a registered office is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nation {
    /// England or Wales.
    EnglandAndWales,
    /// Scotland.
    Scotland,
    /// Northern Ireland.
    NorthernIreland,
    /// None of them.
    Abroad(&'static str),
}

impl Nation {
    /// Returns the nation that `prefix` and `kind` point to; half of the overseas bodies give an
    /// address here.
    pub(super) fn of(prefix: &str, kind: Kind, rng: &mut Rng) -> Self {
        match prefix {
            _ if kind == Kind::Overseas && rng.chance(500_000) => {
                Self::Abroad(rng.pick(&COUNTRIES))
            }
            "SC" | "SO" | "SL" | "SG" | "CS" | "SP" => Self::Scotland,
            "NI" | "NC" | "NL" | "NF" | "NO" => Self::NorthernIreland,
            _ => Self::EnglandAndWales,
        }
    }

    fn label(self, rng: &mut Rng) -> &'static str {
        let drawn = rng.below(1000);
        let home = match self {
            Self::Abroad(country) => return country,
            Self::Scotland => "SCOTLAND",
            Self::NorthernIreland => "NORTHERN IRELAND",
            Self::EnglandAndWales if drawn.is_multiple_of(34) => "WALES",
            Self::EnglandAndWales => "ENGLAND",
        };
        match drawn {
            0..=384 => home,
            385..=693 => "UNITED KINGDOM",
            _ => "",
        }
    }
}

/// Appends the eight address fields.
pub(super) fn write(fields: &mut Fields<'_>, nation: Nation, kind: Kind, rng: &mut Rng) {
    if kind == Kind::Charity {
        (0..8).for_each(|_| fields.text(""));
        return;
    }
    if rng.chance(600) {
        let hidden = "XXXXXXXXXX";
        for text in ["", "", hidden, hidden, hidden, hidden, "", ""] {
            fields.text(text);
        }
        return;
    }
    let place = Place::drawn(rng);
    fields.open();
    if rng.chance(14_500) {
        fields.push("C/O ");
        place.building(fields, rng);
    }
    fields.close();
    fields.open();
    if rng.chance(2_200) {
        fields.push("PO BOX ");
        fields.digits(1 + rng.below(9_999));
    }
    fields.close();
    write_lines(fields, &place, rng);
    fields.open();
    if rng.chance(979_300) {
        if rng.chance(2_000) {
            fields.push(" ");
        }
        fields.push(place.head);
        fields.push(place.end);
    }
    fields.close();
    fields.text(if rng.chance(402_000) { place.county } else { "" });
    fields.text(nation.label(rng));
    write_postcode(fields, &place, nation, rng);
}

/// Two lines of address; two companies in three fill the second.
fn write_lines(fields: &mut Fields<'_>, place: &Place, rng: &mut Rng) {
    let drawn = rng.below(1000);
    let flaw = rng.below(1000);
    fields.open();
    match drawn {
        0..=6 => {}
        7..=209 => place.building(fields, rng),
        210..=289 => {
            fields.push(rng.pick(&["UNIT ", "SUITE ", "FLAT ", "OFFICE "]));
            fields.digits(1 + rng.below(99));
            fields.push(" ");
            place.building(fields, rng);
        }
        _ => {
            fields.digits(1 + rng.below(299));
            match flaw {
                0..=39 => fields.push("A"),
                40..=79 => {
                    fields.push("-");
                    fields.digits(300 + rng.below(40));
                }
                80 => fields.push("\\2"),
                81..=84 => fields.push(" "),
                85..=114 => fields.push(","),
                _ => {}
            }
            place.street(fields, rng);
        }
    }
    fields.close();
    fields.open();
    if drawn < 290 || rng.chance(490_000) {
        if drawn < 290 && flaw < 700 {
            fields.digits(1 + rng.below(199));
            place.street(fields, rng);
        } else {
            fields.push(rng.pick(&TOWN_HEADS));
            fields.push(rng.pick(&TOWN_ENDS));
        }
    }
    fields.close();
}

/// A neighbourhood: town, county and postcode area belong together.
struct Place {
    head: &'static str,
    end: &'static str,
    county: &'static str,
    area: &'static str,
}

impl Place {
    fn drawn(rng: &mut Rng) -> Self {
        // Squaring leaves some areas large and some small, as in reality.
        let drawn = rng.below(1000);
        let town = (drawn * drawn / 1000) as usize * TOWN_HEADS.len() / 1000;
        Self {
            head: TOWN_HEADS[town],
            end: rng.pick(&TOWN_ENDS),
            county: COUNTIES[town / 2 % COUNTIES.len()],
            area: AREAS[town % AREAS.len()],
        }
    }

    fn building(&self, fields: &mut Fields<'_>, rng: &mut Rng) {
        fields.push(rng.pick(&STREET_WORDS));
        fields.push(" ");
        fields.push(rng.pick(&BUILDINGS));
    }

    fn street(&self, fields: &mut Fields<'_>, rng: &mut Rng) {
        fields.push(" ");
        fields.push(rng.pick(&STREET_WORDS));
        fields.push(" ");
        fields.push(rng.pick(&STREET_TYPES));
    }
}

/// Letters of the second half of a postcode (C, I, K, M, O and V are never used there).
const INWARD: &[u8; 20] = b"ABDEFGHJLNPQRSTUWXYZ";

fn write_postcode(fields: &mut Fields<'_>, place: &Place, nation: Nation, rng: &mut Rng) {
    fields.open();
    if matches!(nation, Nation::Abroad(_)) {
        if rng.chance(400_000) {
            fields.push(rng.pick(&FOREIGN_POSTCODES));
        }
    } else if !rng.chance(4_300) {
        let form = if rng.chance(2_000) { rng.below(6) } else { 6 };
        let letters = [INWARD[rng.below(20) as usize], INWARD[rng.below(20) as usize]];
        let (district, sector) = (1 + rng.below(19), rng.below(10));
        match form {
            0 => fields.push("NOT APPLICABLE"),
            1 => {
                fields.push(place.area);
                fields.digits(district);
            }
            _ => {
                fields.push(place.area);
                if form == 2 {
                    fields.push("O");
                } else {
                    fields.digits(district);
                }
                fields.push(["", " ", "   ", "", " ", "  ", " "][form as usize]);
                fields.digits(sector);
                fields.bytes(&letters);
                if form == 4 {
                    fields.push(" 2S");
                }
            }
        }
    }
    fields.close();
}
