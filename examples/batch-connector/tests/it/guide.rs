//! The code in `docs/adding-a-connector.md` is the code of this crate.

use std::path::Path;

#[test]
fn each_code_block_of_the_guide_is_in_its_file() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(package.join("../../docs/adding-a-connector.md")).unwrap();
    let mut blocks = 0;
    for block in guide.split("```rust path=").skip(1) {
        let (file, rest) = block.split_once('\n').unwrap();
        let (code, _) = rest.split_once("```").unwrap();
        let source = std::fs::read_to_string(package.join(file)).unwrap();
        assert!(source.contains(code), "not in {file}:\n{code}");
        blocks += 1;
    }
    assert!(blocks >= 8, "{blocks} blocks");
}
