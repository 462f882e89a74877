//! The matrix as `docs/reliability.md` shows it.

use std::{fmt::Write as _, path::Path};

use super::{
    cell::{Lasts, Verb},
    rows::rows,
};

/// What stands around the generated part.
const BEGIN: &str = "<!-- fault matrix: written by a test, see below -->\n";
const END: &str = "<!-- end of the fault matrix -->\n";

/// Set, the test writes the page in place of comparing it.
const WRITE: &str = "UPDATE_RELIABILITY";

fn tables() -> String {
    let mut text = String::new();
    for (lasts, title) in
        [(Lasts::Once, "The fault strikes once"), (Lasts::Forever, "The fault lasts")]
    {
        writeln!(text, "\n### {title}\n").unwrap();
        write!(text, "| fault |").unwrap();
        for verb in Verb::ALL {
            write!(text, " {} |", verb.name()).unwrap();
        }
        writeln!(text, "\n|{}", " --- |".repeat(1 + Verb::ALL.len())).unwrap();
        for row in rows() {
            write!(text, "| {} |", row.name).unwrap();
            for verb in Verb::ALL {
                write!(text, " {} |", row.expected(verb, lasts).unwrap_or("–")).unwrap();
            }
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_page_shows_the_matrix() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page marks where the matrix begins");
    let (_, after) = rest.split_once(END).expect("the page marks where the matrix ends");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    assert!(page == wanted, "docs/reliability.md is stale; {WRITE}=1 writes it");
}
