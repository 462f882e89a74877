use proptest::prelude::*;

use super::*;
use crate::logs::{
    lines::{Tail, first_line},
    place::ANCHOR,
};

fn listed(name: &str, size: u64, modified: i64) -> Listed {
    Listed { name: name.to_owned(), size, modified }
}

fn after(suffix: &str) -> Rotated {
    Rotated::try_from(suffix.to_owned()).unwrap()
}

#[test]
fn only_files_of_the_stream_count_in_the_order_of_their_times() {
    let files = [
        listed("stdout", 1, 0),
        listed("stdout--2026-11-23--15-00", 2, 0),
        listed("stdout--2026-11-23--14-00.gz", 3, 0),
        listed("stdout.2026112316", 3, 0),
        listed("stdout-old", 4, 0),
        listed("stdout2026-11-23", 4, 0),
        listed("stderr--2026-11-23--13-00", 5, 0),
        listed("log4j-active.log", 6, 0),
    ];
    let sequence = Sequence::of(Stream::Out, &files);
    let names: Vec<&str> = sequence.rotated.iter().map(|(name, _)| name.0.as_str()).collect();
    assert_eq!(names, ["2026-11-23--14-00", "2026-11-23--15-00", "2026112316"]);
    assert_eq!(sequence.growing.unwrap().name, "stdout");
}

#[test]
fn a_file_that_was_rotated_away_is_read_on_under_its_new_name() {
    let mut position = Position { after: None, place: Place::default().on(5, b"12345") };
    let files = [listed("stdout--2026-01-01--00-00", 9, 7), listed("stdout", 90, 8)];
    let sequence = Sequence::of(Stream::Out, &files);
    assert_eq!(position.step(&sequence), Step::Read { file: &files[0], grows: false });
    position.advance(4, b"123456789");
    assert_eq!(position.step(&sequence), Step::Read { file: &files[1], grows: true });
    assert_eq!(
        position,
        Position { after: Some(after("2026-01-01--00-00")), place: Place::default() }
    );
}

#[test]
fn a_rotated_file_that_grows_while_it_is_delivered_is_read_to_its_end() {
    let mut position = Position { after: None, place: Place::default().on(5, b"12345") };
    let name = "stdout--2026-01-01--00-00";
    let files = [listed(name, 5, 7), listed("stdout", 0, 8)];
    assert_eq!(position.step(&Sequence::of(Stream::Out, &files)), Step::Wait);
    let files = [listed(name, 9, 7)];
    let sequence = Sequence::of(Stream::Out, &files);
    assert_eq!(position.step(&sequence), Step::Read { file: &files[0], grows: false });
}

#[test]
fn a_growing_file_that_got_shorter_waits_for_the_rotated_one() {
    let mut position = Position { after: None, place: Place::default().on(5, b"12345") };
    let files = [listed("stdout", 3, 8)];
    assert_eq!(position.step(&Sequence::of(Stream::Out, &files)), Step::Wait);
    assert_eq!(position.step(&Sequence::of(Stream::Out, &[])), Step::Wait);
}

#[test]
fn a_growing_file_that_may_be_the_rotated_one_is_compared_first() {
    let files =
        |modified| [listed("stdout--2026-01-01--00-00", 9, 7), listed("stdout", 6, modified)];
    let mut position =
        Position { after: Some(after("2026-01-01--00-00")), place: Place::default() };
    let old = files(7);
    assert_eq!(
        position.clone().step(&Sequence::of(Stream::Out, &old)),
        Step::Compare { rotated: &old[0], growing: &old[1] }
    );
    let new = files(8);
    assert_eq!(
        position.step(&Sequence::of(Stream::Out, &new)),
        Step::Read { file: &new[1], grows: true }
    );
}

#[test]
fn a_compressed_file_is_passed_over_and_a_plain_one_is_preferred() {
    let files = [
        listed("stdout--2026-01-01--00-00.gz", 9, 7),
        listed("stdout--2026-01-01--01-00.gz", 9, 7),
        listed("stdout--2026-01-01--01-00", 9, 7),
    ];
    let sequence = Sequence::of(Stream::Out, &files);
    let mut position = Position::default();
    let Step::Skip { file, why } = position.step(&sequence) else { panic!("not skipped") };
    assert_eq!((file, why), (&files[0], Skipped::Compressed));
    position.skip(&sequence, why);
    assert_eq!(position.step(&sequence), Step::Read { file: &files[2], grows: false });
}

#[test]
fn a_name_that_could_lead_elsewhere_is_none() {
    for name in ["../../x", "a/b", "a b", "ü", &"x".repeat(65)] {
        assert!(Rotated::try_from(name.to_owned()).is_err(), "{name}");
    }
}

/// A driver that writes, rotates, and is read now and then.
#[derive(Debug, Clone)]
enum Act {
    Write(usize),
    Rotate,
    Read(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0usize..900).prop_map(Act::Write),
        1 => Just(Act::Rotate),
        4 => (1usize..700).prop_map(Act::Read),
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
    fn listing(&self) -> Vec<Listed> {
        let rotated =
            self.files.iter().map(|(name, content)| listed(name, content.len() as u64, 1));
        rotated.chain([listed("stdout", self.growing.len() as u64, 2)]).collect()
    }

    fn content(&self, name: &str) -> &[u8] {
        let rotated = self.files.iter().find(|(have, _)| have == name);
        rotated.map_or(&self.growing, |(_, content)| content)
    }

    /// Reads at most so many bytes, and takes whole lines.
    fn read(&self, position: &mut Position, length: usize, tail: Tail) -> Vec<u8> {
        let files = self.listing();
        let sequence = Sequence::of(Stream::Out, &files);
        let Step::Read { file, grows } = position.step(&sequence) else { return Vec::new() };
        let anchor = position.place().anchor_bytes();
        let from = usize::try_from(position.place().offset).unwrap() - anchor;
        let content = self.content(&file.name);
        let to = content.len().min(from + anchor + length);
        let chunk = &content[from..to];
        assert!(position.place().follows(&chunk[..anchor]));
        let tail = if to < content.len() {
            Tail::More
        } else if grows {
            tail
        } else {
            Tail::Joined
        };
        let mut end = anchor;
        while let Some(length) = first_line(&chunk[end..], tail) {
            end += length;
        }
        position.advance(end - anchor, &chunk[..end]);
        chunk[anchor..end].to_vec()
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_repeated_however_it_is_written_rotated_and_read(acts in proptest::collection::vec(act(), 0..60)) {
        let (mut driver, mut position, mut read) = (Driver::default(), Position::default(), Vec::new());
        for act in acts {
            match act {
                Act::Write(bytes) => {
                    driver.lines += 1;
                    let line = format!("{} {}", driver.lines, "x".repeat(bytes));
                    let line = if bytes % 3 == 0 { line } else { line + "\n" };
                    driver.growing.extend_from_slice(line.as_bytes());
                    driver.written.extend_from_slice(line.as_bytes());
                }
                Act::Rotate => {
                    let name = format!("stdout--2026-01-01--{:04}", driver.files.len());
                    let content = std::mem::take(&mut driver.growing);
                    driver.files.push((name, content));
                }
                Act::Read(length) => read.extend(driver.read(&mut position, length + ANCHOR, Tail::More)),
            }
            // As a token would carry it.
            let text = serde_json::to_string(&position).unwrap();
            position = serde_json::from_str(&text).unwrap();
        }
        loop {
            let more = driver.read(&mut position, 100_000, Tail::End);
            if more.is_empty() {
                break;
            }
            read.extend(more);
        }
        prop_assert_eq!(read, driver.written);
    }
}
