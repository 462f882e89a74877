use proptest::prelude::*;

use super::*;
use crate::task_logs::{
    line_splitter::{BufferEnd, first_line_length},
    position::CONTEXT_BYTES,
};

fn log_file(name: &str, size: u64, modified: i64) -> LogFile {
    LogFile { name: name.to_owned(), size, modified }
}

fn after(suffix: &str) -> RotationSuffix {
    RotationSuffix::try_from(suffix.to_owned()).unwrap()
}

#[test]
fn files_of_the_stream_are_sorted_by_rotation_time() {
    let files = [
        log_file("stdout", 1, 0),
        log_file("stdout--2026-11-23--15-00", 2, 0),
        log_file("stdout--2026-11-23--14-00.gz", 3, 0),
        log_file("stdout.2026112316", 3, 0),
        log_file("stdout-old", 4, 0),
        log_file("stdout2026-11-23", 4, 0),
        log_file("stderr--2026-11-23--13-00", 5, 0),
        log_file("log4j-active.log", 6, 0),
    ];
    let of_stream = StreamFiles::of(OutputStream::Stdout, &files);
    let names: Vec<&str> = of_stream.rotated.iter().map(|(name, _)| name.0.as_str()).collect();
    assert_eq!(names, ["2026-11-23--14-00", "2026-11-23--15-00", "2026112316"]);
    assert_eq!(of_stream.active.unwrap().name, "stdout");
}

#[test]
fn rotated_file_is_continued_under_its_new_name() {
    let mut cursor =
        StreamCursor { after: None, position: Position::default().advanced(5, b"12345") };
    let files = [log_file("stdout--2026-01-01--00-00", 9, 7), log_file("stdout", 90, 8)];
    let of_stream = StreamFiles::of(OutputStream::Stdout, &files);
    assert_eq!(cursor.next_read(&of_stream), NextRead::Read { file: &files[0], is_active: false });
    cursor.advance(4, b"123456789");
    assert_eq!(cursor.next_read(&of_stream), NextRead::Read { file: &files[1], is_active: true });
    assert_eq!(
        cursor,
        StreamCursor { after: Some(after("2026-01-01--00-00")), position: Position::default() }
    );
}

#[test]
fn partially_delivered_rotated_file_is_read_to_its_end() {
    let mut cursor =
        StreamCursor { after: None, position: Position::default().advanced(5, b"12345") };
    let name = "stdout--2026-01-01--00-00";
    let files = [log_file(name, 5, 7), log_file("stdout", 0, 8)];
    assert_eq!(
        cursor.next_read(&StreamFiles::of(OutputStream::Stdout, &files)),
        NextRead::UpToDate
    );
    let files = [log_file(name, 9, 7)];
    let of_stream = StreamFiles::of(OutputStream::Stdout, &files);
    assert_eq!(cursor.next_read(&of_stream), NextRead::Read { file: &files[0], is_active: false });
}

#[test]
fn shrunk_active_file_waits_for_the_rotated_file() {
    let mut cursor =
        StreamCursor { after: None, position: Position::default().advanced(5, b"12345") };
    let files = [log_file("stdout", 3, 8)];
    assert_eq!(
        cursor.next_read(&StreamFiles::of(OutputStream::Stdout, &files)),
        NextRead::UpToDate
    );
    assert_eq!(cursor.next_read(&StreamFiles::of(OutputStream::Stdout, &[])), NextRead::UpToDate);
}

#[test]
fn active_file_no_newer_than_the_rotated_one_is_compared_first() {
    let files =
        |modified| [log_file("stdout--2026-01-01--00-00", 9, 7), log_file("stdout", 6, modified)];
    let mut cursor =
        StreamCursor { after: Some(after("2026-01-01--00-00")), position: Position::default() };
    let old = files(7);
    assert_eq!(
        cursor.clone().next_read(&StreamFiles::of(OutputStream::Stdout, &old)),
        NextRead::CompareFirst { rotated: &old[0], active: &old[1] }
    );
    let new = files(8);
    assert_eq!(
        cursor.next_read(&StreamFiles::of(OutputStream::Stdout, &new)),
        NextRead::Read { file: &new[1], is_active: true }
    );
}

#[test]
fn compressed_file_is_skipped_unless_a_plain_copy_exists() {
    let files = [
        log_file("stdout--2026-01-01--00-00.gz", 9, 7),
        log_file("stdout--2026-01-01--01-00.gz", 9, 7),
        log_file("stdout--2026-01-01--01-00", 9, 7),
    ];
    let of_stream = StreamFiles::of(OutputStream::Stdout, &files);
    let mut cursor = StreamCursor::default();
    let NextRead::Skip { file, reason } = cursor.next_read(&of_stream) else {
        panic!("not skipped")
    };
    assert_eq!((file, reason), (&files[0], SkipReason::Compressed));
    cursor.skip(&of_stream, reason);
    assert_eq!(cursor.next_read(&of_stream), NextRead::Read { file: &files[2], is_active: false });
}

#[test]
fn suffix_that_is_not_a_plain_name_is_rejected() {
    for name in ["../../x", "a/b", "a b", "ü", &"x".repeat(65)] {
        assert!(RotationSuffix::try_from(name.to_owned()).is_err(), "{name}");
    }
}

/// A step of a driver that writes and rotates, or of its reader.
#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Rotate,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..900).prop_map(Step::Write),
        1 => Just(Step::Rotate),
        4 => (1usize..700).prop_map(Step::Read),
    ]
}

#[derive(Default)]
struct Driver {
    files: Vec<(String, Vec<u8>)>,
    growing: Vec<u8>,
    written: Vec<u8>,
    lines: usize,
}

impl Driver {
    fn listing(&self) -> Vec<LogFile> {
        let rotated =
            self.files.iter().map(|(name, content)| log_file(name, content.len() as u64, 1));
        rotated.chain([log_file("stdout", self.growing.len() as u64, 2)]).collect()
    }

    fn content(&self, name: &str) -> &[u8] {
        let rotated = self.files.iter().find(|(have, _)| have == name);
        rotated.map_or(&self.growing, |(_, content)| content)
    }

    /// Reads at most `length` bytes and consumes whole lines.
    fn read(&self, cursor: &mut StreamCursor, length: usize, end: BufferEnd) -> Vec<u8> {
        let files = self.listing();
        let of_stream = StreamFiles::of(OutputStream::Stdout, &files);
        let NextRead::Read { file, is_active } = cursor.next_read(&of_stream) else {
            return Vec::new();
        };
        let context = cursor.position().context_length();
        let from = usize::try_from(cursor.position().offset).unwrap() - context;
        let bytes = self.content(&file.name);
        let to = bytes.len().min(from + context + length);
        let chunk = &bytes[from..to];
        assert!(cursor.position().matches(&chunk[..context]));
        let end = if to < bytes.len() {
            BufferEnd::Open
        } else if is_active {
            end
        } else {
            BufferEnd::NextFile
        };
        let mut taken = context;
        while let Some(length) = first_line_length(&chunk[taken..], end) {
            taken += length;
        }
        cursor.advance(taken - context, &chunk[..taken]);
        chunk[context..taken].to_vec()
    }
}

proptest! {
    #[test]
    fn no_byte_is_lost_or_repeated_across_rotations(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut driver, mut cursor, mut read) = (Driver::default(), StreamCursor::default(), Vec::new());
        for step in steps {
            match step {
                Step::Write(bytes) => {
                    driver.lines += 1;
                    let line = format!("{} {}", driver.lines, "x".repeat(bytes));
                    let line = if bytes % 3 == 0 { line } else { line + "\n" };
                    driver.growing.extend_from_slice(line.as_bytes());
                    driver.written.extend_from_slice(line.as_bytes());
                }
                Step::Rotate => {
                    let name = format!("stdout--2026-01-01--{:04}", driver.files.len());
                    let content = std::mem::take(&mut driver.growing);
                    driver.files.push((name, content));
                }
                Step::Read(length) => read.extend(driver.read(&mut cursor, length + CONTEXT_BYTES, BufferEnd::Open)),
            }
            // Round-trips through the encoding of a token.
            let text = serde_json::to_string(&cursor).unwrap();
            cursor = serde_json::from_str(&text).unwrap();
        }
        loop {
            let more = driver.read(&mut cursor, 100_000, BufferEnd::StreamEnd);
            if more.is_empty() {
                break;
            }
            read.extend(more);
        }
        prop_assert_eq!(read, driver.written);
    }
}
