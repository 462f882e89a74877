//! Every relative link of a Markdown page leads to a file of the repository, and its anchor to a heading there.

use super::{Tree, Violation};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (page, text) in tree.iter().filter(|(path, _)| is_page(path)) {
        for link in links(text.as_deref().unwrap_or_default()) {
            if let Some(fault) = fault(tree, page, &link.target) {
                found.push(Violation {
                    rule: "links".to_owned(),
                    place: format!("{page}:{}", link.line),
                    fault,
                    fix: "correct the link, or add what it leads to".to_owned(),
                });
            }
        }
    }
    found
}

fn is_page(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("md"))
}

/// What is wrong with a link from `page`, if anything is.
fn fault(tree: &Tree, page: &str, target: &str) -> Option<String> {
    let is_elsewhere = target
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
    if is_elsewhere || target.starts_with("//") {
        return None;
    }
    let (path, anchor) =
        target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() { page.to_owned() } else { resolve(page, path)? };
    if path.starts_with("..") {
        return Some(format!("`{target}` leads out of the repository"));
    }
    let is_folder = || {
        path.is_empty()
            || tree
                .keys()
                .any(|file| file.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/')))
    };
    match (tree.get(&path), anchor) {
        (None, _) if !is_folder() => Some(format!("`{target}` leads to nothing")),
        (Some(Some(text)), Some(anchor)) if is_page(&path) && !anchors(text).contains(anchor) => {
            Some(format!("`{target}` leads to no heading of {path}"))
        }
        _ => None,
    }
}

/// The path from the root that `target`, written in `page`, means. It starts with `..` when it leads outside.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { page.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_none_or(|last| *last == "..") => parts.push(".."),
            ".." => parts.truncate(parts.len().checked_sub(1)?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

struct Link {
    line: usize,
    target: String,
}

/// Inline links, images and link definitions, outside code.
fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, prose) in prose_lines(text) {
        let inline = prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target);
        let definition = prose
            .trim_start()
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| target);
        for target in inline.chain(definition) {
            let target = target.trim().trim_start_matches('<');
            let target = target.split([' ', '>']).next().unwrap_or_default();
            if !target.is_empty() {
                found.push(Link { line, target: target.to_owned() });
            }
        }
    }
    found
}

/// The lines outside code fences, numbered from 1, without their code spans.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in lines_outside_fences(text) {
        found.push((index + 1, line.split('`').step_by(2).collect()));
    }
    found
}

/// The lines outside code fences, with their index.
fn lines_outside_fences(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let marks = ["```", "~~~"].iter().any(|mark| line.trim_start().starts_with(mark));
        fenced ^= marks;
        !marks && !fenced
    })
}

/// The anchors of a page's headings, made as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut repeats: BTreeMap<String, usize> = BTreeMap::new();
    for (_, line) in lines_outside_fences(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let lower = heading.trim().to_lowercase().replace(' ', "-");
        let anchor: String =
            lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let repeat = repeats.entry(anchor.clone()).or_default();
        found.insert(if *repeat == 0 { anchor } else { format!("{anchor}-{repeat}") });
        *repeat += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree_of;
    use super::*;

    #[track_caller]
    fn check_link(target: &str, wanted: Option<&str>) {
        let page = format!("# Top\n\nSee [it]({target}).\n");
        let found = check(&tree_of(&[
            ("docs/page.md", &page),
            ("docs/adr/0001.md", "# A *Big* decision: `why`?\n\n## Twice\n\n## Twice\n"),
            ("README.md", "# Hello\n"),
            ("deploy/chart/Chart.yaml", ""),
        ]));
        assert_eq!(found.first().map(|violation| violation.fault.as_str()), wanted);
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for target in [
            "adr/0001.md",
            "./adr/0001.md#a-big-decision-why",
            "adr/0001.md#twice-1",
            "../README.md",
            "../README.md#hello",
            "/README.md",
            "../deploy/chart",
            "../deploy/chart/",
            "..",
            "#top",
            "<adr/0001.md>",
            "adr/0001.md \"a title\"",
            "https://example.com/x",
            "mailto:a@example.com",
        ] {
            check_link(target, None);
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_told() {
        check_link("adr/0002.md", Some("`adr/0002.md` leads to nothing"));
        check_link("README.md", Some("`README.md` leads to nothing"));
        check_link("../../other/x.md", Some("`../../other/x.md` leads out of the repository"));
        check_link("#nowhere", Some("`#nowhere` leads to no heading of docs/page.md"));
        check_link(
            "adr/0001.md#twice-2",
            Some("`adr/0001.md#twice-2` leads to no heading of docs/adr/0001.md"),
        );
    }

    #[test]
    fn code_is_not_read_for_links_and_definitions_are() {
        let text = "`[a](x.md)`\n```\n[b](y.md)\n```\n[`c`](z.md) and ![d](i.png)\n[e]: w.md\n";
        let found: Vec<_> = links(text).into_iter().map(|link| (link.line, link.target)).collect();
        assert_eq!(
            found,
            [(5, "z.md".to_owned()), (5, "i.png".to_owned()), (6, "w.md".to_owned())]
        );
    }
}
