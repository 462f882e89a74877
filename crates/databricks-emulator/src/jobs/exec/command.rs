//! Commands with a small environment.

use std::io;
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};

/// The environment variables that a process inherits.
const INHERITED: [&str; 5] = ["HOME", "JAVA_HOME", "LANG", "PATH", "TMPDIR"];

/// Returns a command without input that inherits only a few variables. A name is looked up in `PATH`.
pub(super) fn command(python: &Path) -> io::Result<Command> {
    let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program(python)?);
    command.env_clear().envs(inherited).stdin(Stdio::null());
    Ok(command)
}

/// Makes a path absolute, because the process starts in another directory.
fn program(python: &Path) -> io::Result<PathBuf> {
    if python.components().count() > 1 { path::absolute(python) } else { Ok(python.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_path_becomes_absolute_and_name_is_kept() {
        assert!(program(Path::new(".venv/bin/python")).unwrap().is_absolute());
        assert_eq!(program(Path::new("python3")).unwrap(), Path::new("python3"));
        assert_eq!(program(Path::new("/a/b")).unwrap(), Path::new("/a/b"));
    }
}
