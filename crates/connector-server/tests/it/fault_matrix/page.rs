//! Renders the matrix into `docs/reliability.md`.

use std::{fmt::Write as _, path::Path};

use super::{
    case::{Repeat, Rpc},
    expectations::rows,
};

/// Marks the generated part of the page.
const BEGIN: &str = "<!-- fault matrix: written by a test, see below -->\n";
const END: &str = "<!-- end of the fault matrix -->\n";

/// If this variable is set, the test writes the page instead of comparing it.
const WRITE: &str = "UPDATE_RELIABILITY";

fn tables() -> String {
    let mut text = String::new();
    for (repeat, title) in
        [(Repeat::Once, "The fault occurs once"), (Repeat::Always, "The fault persists")]
    {
        writeln!(text, "\n### {title}\n").unwrap();
        write!(text, "| fault |").unwrap();
        for rpc in Rpc::ALL {
            write!(text, " {} |", rpc.name()).unwrap();
        }
        writeln!(text, "\n|{}", " --- |".repeat(1 + Rpc::ALL.len())).unwrap();
        for row in rows() {
            write!(text, "| {} |", row.name).unwrap();
            for rpc in Rpc::ALL {
                write!(text, " {} |", row.expected(rpc, repeat).unwrap_or("–")).unwrap();
            }
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

#[test]
fn reliability_page_shows_the_matrix() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("no begin marker");
    let (_, after) = rest.split_once(END).expect("no end marker");
    let expected = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    assert!(page == expected, "docs/reliability.md is outdated; {WRITE}=1 updates it");
}
