//! Finds a program as `execvp` does, but before anything is started.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Searched when the command's environment has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Returns the absolute path of a program. Relative names with a slash, and relative parts of `PATH`, start
/// at `cwd`.
pub(crate) fn find(name: &str, path: Option<&str>, cwd: &Path) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    if name.contains('/') {
        return Some(cwd.join(name)).filter(|file| is_executable(file));
    }
    path.unwrap_or(PATH_DEFAULT)
        .split(':')
        .map(|part| cwd.join(part).join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_by_path_and_beside_the_directory() {
        let cwd = Path::new("/bin");
        assert_eq!(
            find("sh", Some("/nowhere:/bin"), Path::new("/")),
            Some("/bin/sh".into())
        );
        assert_eq!(find("/bin/sh", None, Path::new("/")), Some("/bin/sh".into()));
        assert_eq!(find("./sh", None, cwd), Some("/bin/./sh".into()));
        assert_eq!(find("no such program", None, cwd), None);
        assert_eq!(find("/etc/passwd", None, cwd), None, "not executable");
        assert_eq!(find("/bin", None, cwd), None, "a directory");
        assert_eq!(find("", None, cwd), None);
    }
}
