//! The part of a stack trace that belongs into a message: the last frames of the user's code and the error. Pure.

/// The maximum number of lines of a stack trace in a message, without the lines that mark an omission.
const MAX_LINES: usize = 20;

/// Lines of one frame, and of the text after the last frame. A notebook shows lines around each call.
const MAX_BLOCK_LINES: usize = 8;

/// Frames of the user's code that are kept even if later frames fill the excerpt.
const USER_FRAMES: usize = 2;

/// Parts of paths and names of frames that are not of the user.
const LIBRARIES: [&str; 14] = [
    "site-packages/",
    "dist-packages/",
    "/lib/python3",
    "/databricks/python",
    "/databricks/spark/",
    "/usr/lib/",
    "<frozen ",
    "at java.",
    "at javax.",
    "at scala.",
    "at sun.",
    "at jdk.",
    "at org.apache.",
    "at com.databricks.",
];

/// The start of a trace of Python.
const HEADER: &str = "Traceback (most recent call last):";

/// Traces of a log that are compared with an error, from the end.
const MAX_TRACES: usize = 20;

/// A frame with its lines of source, or lines between frames.
struct Block<'a> {
    lines: Vec<&'a str>,
    is_frame: bool,
    is_user: bool,
}

/// Returns a short trace unchanged. Of a longer one, returns whole frames from the end, the last ones of the user's code
/// and the error after them, and marks each omission.
pub(super) fn excerpt(trace: &str) -> String {
    let lines: Vec<&str> = trace.lines().collect();
    if lines.len() <= MAX_LINES {
        return lines.join("\n");
    }
    let blocks = split(&lines);
    if !blocks.iter().any(|block| block.is_frame) {
        let end = lines.len() - MAX_LINES;
        let kept = lines.get(end..).unwrap_or_default().join("\n");
        return format!("{}\n{kept}", omitted(end));
    }
    render(&blocks, &choose(&blocks))
}

/// Returns the last trace of a log that ends with this error, such as `ValueError`.
pub(super) fn of_log(log: &str, error: &str) -> Option<String> {
    let ends = |trace: &Vec<&str>| trace.last().is_some_and(|last| last.contains(error));
    let traces = log.rmatch_indices(HEADER).take(MAX_TRACES);
    let mut traces = traces.map(|(at, _)| trace_at(log, at));
    traces.find(ends).map(|trace| excerpt(&trace.join("\n")))
}

/// Returns the lines of the trace whose header is at this position, without what a logger puts in front of each line.
fn trace_at(log: &str, at: usize) -> Vec<&str> {
    let (before, trace) = log.split_at_checked(at).unwrap_or_default();
    let indent = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let mut lines = Vec::new();
    for line in trace.lines() {
        let line = if lines.is_empty() { line } else { without_indent(line, indent) };
        lines.push(line.trim_end());
        // The first line that is not indented is the error.
        if lines.len() > 1 && !line.starts_with(' ') && !line.trim().is_empty() {
            break;
        }
    }
    lines
}

/// Removes at most this many spaces.
fn without_indent(line: &str, indent: usize) -> &str {
    let spaces = line.bytes().take(indent).take_while(|byte| *byte == b' ').count();
    line.get(spaces..).unwrap_or(line)
}

fn split<'a>(lines: &[&'a str]) -> Vec<Block<'a>> {
    let mut blocks: Vec<Block<'a>> = Vec::new();
    for line in lines {
        let is_frame = is_frame(line);
        let continues = match blocks.last() {
            Some(block) if block.is_frame => !is_frame && is_source(line),
            Some(_) => !is_frame,
            None => false,
        };
        match blocks.last_mut() {
            Some(block) if continues => block.lines.push(line),
            _ => blocks.push(Block {
                lines: vec![line],
                is_frame,
                is_user: is_frame && !LIBRARIES.iter().any(|library| line.contains(library)),
            }),
        }
    }
    blocks
}

/// True for the first line of a frame of Python, of a notebook, or of the JVM.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    ["File \"", "File <", "File /", "File ~", "<command-", "<ipython-"]
        .iter()
        .any(|start| text.starts_with(start))
        || (line.starts_with('/') && line.contains(" in "))
        || (text.len() < line.len() && text.starts_with("at "))
}

/// True for a line of source below the first line of a frame: indented, marked by an arrow, or empty.
fn is_source(line: &str) -> bool {
    line.starts_with([' ', '\t']) || line.starts_with("--") || line.trim().is_empty()
}

/// Chooses blocks: what follows the last frame, the last frames of the user, and the blocks before the end as far as
/// they fit.
fn choose(blocks: &[Block<'_>]) -> Vec<bool> {
    let size = |block: &Block<'_>| block.lines.len().min(MAX_BLOCK_LINES);
    let last_frame = blocks.iter().rposition(|block| block.is_frame).unwrap_or_default();
    let users = (0..blocks.len()).rev().filter(|n| blocks.get(*n).is_some_and(|b| b.is_user));
    let mut chosen = vec![false; blocks.len()];
    let mut left = MAX_LINES;
    let needed = (last_frame + 1..blocks.len()).chain(users.take(USER_FRAMES)).chain([last_frame]);
    for (n, is_needed) in
        needed.map(|n| (n, true)).chain((0..blocks.len()).rev().map(|n| (n, false)))
    {
        let (Some(block), Some(is_chosen)) = (blocks.get(n), chosen.get_mut(n)) else { continue };
        if *is_chosen {
            continue;
        }
        if !is_needed && size(block) > left {
            break;
        }
        left = left.saturating_sub(size(block));
        *is_chosen = true;
    }
    chosen
}

fn render(blocks: &[Block<'_>], chosen: &[bool]) -> String {
    let mut parts = Vec::new();
    let mut skipped = 0;
    for (block, is_chosen) in blocks.iter().zip(chosen) {
        if !is_chosen {
            skipped += block.lines.len();
            continue;
        }
        if skipped > 0 {
            parts.push(omitted(std::mem::take(&mut skipped)));
        }
        let kept = block.lines.iter().take(MAX_BLOCK_LINES);
        parts.extend(kept.map(|line| (*line).to_owned()));
        skipped = block.lines.len().saturating_sub(MAX_BLOCK_LINES);
    }
    if skipped > 0 {
        parts.push(omitted(skipped));
    }
    parts.join("\n")
}

fn omitted(lines: usize) -> String {
    let noun = if lines == 1 { "line" } else { "lines" };
    format!("… {lines} {noun} omitted …")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace of Python 3.11: each frame has its source and a line of marks.
    fn python(frames: &[(&str, &str)], error: &str) -> String {
        let frame = |(path, function): &(&str, &str)| {
            format!("  File \"{path}\", line 7, in {function}\n    {function}(x)\n    ^^^^^^^^^\n")
        };
        let frames: Vec<String> = frames.iter().map(frame).collect();
        format!("{HEADER}\n{}{error}", frames.concat())
    }

    const LIBRARY: &str = "/databricks/python/lib/python3.11/site-packages/pyspark/sql/frame.py";

    #[test]
    fn short_trace_is_kept() {
        let trace = python(&[("/Workspace/job.py", "main")], "ValueError: no");
        assert_eq!(excerpt(&trace), trace);
    }

    #[test]
    fn cut_is_marked_and_starts_at_a_whole_frame() {
        let frames: Vec<(String, String)> =
            (0..30).map(|n| (format!("/Workspace/m{n}.py"), format!("f{n}"))).collect();
        let frames: Vec<(&str, &str)> =
            frames.iter().map(|(path, function)| (path.as_str(), function.as_str())).collect();
        let text = excerpt(&python(&frames, "SystemExit: 3"));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("… 73 lines omitted …"), "{text}");
        assert_eq!(lines.next(), Some("  File \"/Workspace/m24.py\", line 7, in f24"), "{text}");
        assert!(text.ends_with("SystemExit: 3"), "{text}");
    }

    #[test]
    fn last_frames_of_the_user_are_kept_before_frames_of_libraries() {
        let mut frames = vec![("/Workspace/job.py", "main"), ("/Workspace/job.py", "load")];
        frames.extend([(LIBRARY, "collect"); 20]);
        let text = excerpt(&python(&frames, "AnalysisException: no such table"));
        assert!(text.contains("in main\n") && text.contains("in load\n"), "{text}");
        assert!(text.contains("in collect\n"), "{text}");
        assert!(text.ends_with("AnalysisException: no such table"), "{text}");
        assert!(text.lines().count() <= MAX_LINES + 3, "{text}");
        let head = text.lines().next().unwrap();
        assert!(head.contains("omitted") || head == HEADER, "{text}");
    }

    #[test]
    fn notebook_frames_are_recognised() {
        let frame = |at: &str| {
            format!("File {at}, in f(x)\n      3 def f(x):\n----> 4     return g(x)\n      5 \n")
        };
        let mut trace = "-----\nKeyError   Traceback (most recent call last)\n".to_owned();
        trace += &frame("<command-12>:4");
        trace += &frame("/databricks/spark/python/pyspark/a.py:9").repeat(9);
        trace += "KeyError: 'sales'";
        let text = excerpt(&trace);
        assert!(text.contains("File <command-12>:4"), "{text}");
        assert!(text.contains("----> 4"), "{text}");
        assert!(text.ends_with("KeyError: 'sales'"), "{text}");
    }

    #[test]
    fn text_without_frames_keeps_its_end() {
        let text: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        let text = excerpt(&text.join("\n"));
        assert!(text.starts_with("… 30 lines omitted …\nline 30\n"), "{text}");
    }

    #[test]
    fn trace_of_an_error_is_found_in_a_log() {
        let log = format!(
            "start\n12:00 ERROR {HEADER}\n              File \"/root/job.py\", line 3, in load\n                raise ValueError(x)\n            ValueError: no\nlater\n{HEADER}\n  File \"/x.py\", line 1, in y\nOSError: at exit\n"
        );
        let trace = of_log(&log, "ValueError").unwrap();
        assert_eq!(
            trace,
            format!(
                "{HEADER}\n  File \"/root/job.py\", line 3, in load\n    raise ValueError(x)\nValueError: no"
            )
        );
        assert_eq!(of_log(&log, "KeyError"), None);
        assert_eq!(of_log("no trace", "KeyError"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_bounded_excerpt(text in "(?s).{0,400}", lines in 0usize..60) {
            let text = format!("{text}\n").repeat(lines);
            let excerpt = excerpt(&text);
            proptest::prop_assert!(excerpt.lines().count() <= text.lines().count() + 2);
            let _trace = of_log(&text, "E");
        }
    }
}
