//! Checks that every relative link in Markdown points to an existing file and heading.

use super::{Tree, Violation};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (page, text) in tree.iter().filter(|(path, _)| is_page(path)) {
        for link in links(text.as_deref().unwrap_or_default()) {
            if let Some(message) = why_broken(tree, page, &link.target) {
                found.push(Violation {
                    rule: "links".to_owned(),
                    location: format!("{page}:{}", link.line),
                    message,
                    fix: "correct the link, or add its target".to_owned(),
                });
            }
        }
    }
    found
}

fn is_page(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("md"))
}

/// Returns why a link in `page` is broken.
fn why_broken(tree: &Tree, page: &str, target: &str) -> Option<String> {
    let is_absolute = target
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
    if is_absolute || target.starts_with("//") {
        return None;
    }
    let (path, anchor) =
        target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() { page.to_owned() } else { resolve(page, path)? };
    if path.starts_with("..") {
        return Some(format!("`{target}` points outside the repository"));
    }
    let is_directory = || {
        path.is_empty()
            || tree
                .keys()
                .any(|file| file.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/')))
    };
    match (tree.get(&path), anchor) {
        (None, _) if !is_directory() => Some(format!("`{target}` does not exist")),
        (Some(Some(text)), Some(anchor)) if is_page(&path) && !anchors(text).contains(anchor) => {
            Some(format!("`{target}` names no heading of {path}"))
        }
        _ => None,
    }
}

/// Resolves `target`, relative to `page`, to a path from the root. The result starts with `..` if it is outside.
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

/// Returns the targets of inline links, images and link definitions outside code.
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

/// Returns the lines outside code fences, numbered from 1, without code spans.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in lines_outside_fences(text) {
        found.push((index + 1, line.split('`').step_by(2).collect()));
    }
    found
}

/// Returns the lines outside code fences, with their index.
fn lines_outside_fences(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let marks = ["```", "~~~"].iter().any(|mark| line.trim_start().starts_with(mark));
        fenced ^= marks;
        !marks && !fenced
    })
}

/// Returns the anchors of a page's headings, as GitHub and mdBook generate them.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
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
    fn check_link(target: &str, expected: Option<&str>) {
        let page = format!("# Top\n\nSee [it]({target}).\n");
        let found = check(&tree_of(&[
            ("docs/page.md", &page),
            ("docs/adr/0001.md", "# A *Big* decision: `why`?\n\n## Twice\n\n## Twice\n"),
            ("README.md", "# Hello\n"),
            ("deploy/chart/Chart.yaml", ""),
        ]));
        assert_eq!(found.first().map(|violation| violation.message.as_str()), expected);
    }

    #[test]
    fn valid_links_pass() {
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
    fn broken_links_are_violations() {
        check_link("adr/0002.md", Some("`adr/0002.md` does not exist"));
        check_link("README.md", Some("`README.md` does not exist"));
        check_link("../../other/x.md", Some("`../../other/x.md` points outside the repository"));
        check_link("#nowhere", Some("`#nowhere` names no heading of docs/page.md"));
        check_link(
            "adr/0001.md#twice-2",
            Some("`adr/0001.md#twice-2` names no heading of docs/adr/0001.md"),
        );
    }

    #[test]
    fn links_in_code_are_ignored() {
        let text = "`[a](x.md)`\n```\n[b](y.md)\n```\n[`c`](z.md) and ![d](i.png)\n[e]: w.md\n";
        let found: Vec<_> = links(text).into_iter().map(|link| (link.line, link.target)).collect();
        assert_eq!(
            found,
            [(5, "z.md".to_owned()), (5, "i.png".to_owned()), (6, "w.md".to_owned())]
        );
    }
}
