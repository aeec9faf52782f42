//! What git knows of a directory, read from its files: a process for each thread would cost more than the thread.

use std::{
    fs,
    path::{Path, PathBuf},
};

use codex_protocol::v2::GitInfo;

/// The largest of git's files that is read, in bytes: `packed-refs` of a repository with many tags.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Directories that are looked at on the way up.
const PARENTS_MAX: usize = 64;

/// The branch, the commit and the address that a working directory comes from; `None` outside of a repository.
pub(crate) fn git_info(cwd: &Path) -> Option<GitInfo> {
    let directory = cwd.ancestors().take(PARENTS_MAX).find_map(git_directory)?;
    // A linked worktree has a head of its own and shares the rest (gitrepository-layout(5)).
    let common = match read(&directory.join("commondir")) {
        Some(text) => directory.join(text.trim()),
        None => directory.clone(),
    };
    let head = read(&directory.join("HEAD"))?;
    let (branch, sha) = match head.trim().strip_prefix("ref:") {
        Some(name) => {
            let name = name.trim();
            let branch = name.strip_prefix("refs/heads/").map(str::to_owned);
            (branch, commit(&common, name))
        }
        None => (None, Some(head.trim().to_owned())),
    };
    let origin_url = read(&common.join("config")).and_then(|it| origin(&it));
    Some(GitInfo {
        branch,
        sha,
        origin_url,
    })
}

fn git_directory(directory: &Path) -> Option<PathBuf> {
    let git = directory.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = read(&git)?;
    Some(directory.join(text.strip_prefix("gitdir:")?.trim()))
}

fn commit(common: &Path, name: &str) -> Option<String> {
    if let Some(text) = read(&common.join(name)) {
        return Some(text.trim().to_owned());
    }
    let packed = read(&common.join("packed-refs"))?;
    let line = packed.lines().find(|it| it.split(' ').nth(1) == Some(name))?;
    line.split(' ').next().map(str::to_owned)
}

fn origin(config: &str) -> Option<String> {
    let mut is_origin = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            is_origin = line == "[remote \"origin\"]";
        } else if is_origin
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("url")
        {
            return Some(without_credential(value.trim()));
        }
    }
    None
}

/// A token in an address is nobody's business.
fn without_credential(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

fn read(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() <= FILE_BYTES_MAX).then(|| fs::read_to_string(path).ok())?
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_branch_the_commit_and_the_origin_are_those_that_git_tells() {
        let folder = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command
                .args(["-c", "user.name=n", "-c", "user.email=e@x"])
                .args(args);
            let output = command.current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(git_info(Path::new("/")), None);
        git(&["init", "-q", "-b", "trunk"]);
        let fresh = git_info(folder.path()).unwrap();
        assert_eq!((fresh.branch.as_deref(), fresh.sha), (Some("trunk"), None));
        git(&["commit", "-q", "--allow-empty", "-m", "one"]);
        git(&[
            "remote",
            "add",
            "origin",
            "https://name:token@example.com/a/b.git",
        ]);
        fs::create_dir(folder.path().join("sub")).unwrap();
        let sha = git(&["rev-parse", "HEAD"]);
        let expected = GitInfo {
            branch: Some("trunk".to_owned()),
            sha: Some(sha.clone()),
            origin_url: Some("https://example.com/a/b.git".to_owned()),
        };
        assert_eq!(git_info(&folder.path().join("sub")), Some(expected.clone()));
        git(&["pack-refs", "--all"]);
        assert_eq!(git_info(folder.path()), Some(expected));
        git(&["worktree", "add", "-q", "-b", "side", "linked"]);
        let linked = git_info(&folder.path().join("linked")).unwrap();
        assert_eq!((linked.branch.as_deref(), linked.sha), (Some("side"), Some(sha)));
    }
}
