//! The sample projects: small, real, and each with one mistake that its checks find.

use std::{fs, io, path::Path};

/// A project as the model of its host knows it.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder's name.
    pub(crate) name: &'static str,
    /// Paths inside the folder, and contents.
    files: &'static [(&'static str, &'static str)],
    /// Shows what matters, and changes nothing.
    pub(crate) look: &'static str,
    /// Runs the checks; the last line is `passed: N, failed: N`.
    pub(crate) check: &'static str,
    /// The file with the mistake.
    pub(crate) source: &'static str,
    /// What stands around the mistake, what is wrong and what is right, line by line.
    context: &'static str,
    wrong: &'static str,
    right: &'static str,
    /// Why the check fails, as a sentence.
    pub(crate) cause: &'static str,
    /// What the fix does, as a sentence.
    pub(crate) fix: &'static str,
}

/// The project of the first host.
pub(crate) const API: Project = Project {
    name: "parcels",
    files: &[
        ("README.md", include_str!("projects/api/README.md")),
        ("lib/shipping.sh", include_str!("projects/api/lib/shipping.sh")),
        ("tests/run.sh", include_str!("projects/api/tests/run.sh")),
        ("build/prices.txt", include_str!("projects/api/build/prices.txt")),
    ],
    look: "cat README.md lib/shipping.sh",
    check: "sh tests/run.sh",
    source: "lib/shipping.sh",
    context: "shipping_cost() {",
    wrong: "    if [ \"$1\" -lt 1000 ]; then",
    right: "    if [ \"$1\" -le 1000 ]; then",
    cause: "The table in `README.md` says *up to 1000 g*, but `shipping_cost` compares with `-lt`, so a parcel of \
            exactly 1000 g costs too much.",
    fix: "`shipping_cost` now compares with `-le`, so the limit itself belongs to the lower price.",
};

/// The project of the second host.
pub(crate) const WEB: Project = Project {
    name: "pages",
    files: &[
        ("README.md", include_str!("projects/web/README.md")),
        ("lib/slug.sh", include_str!("projects/web/lib/slug.sh")),
        ("tests/run.sh", include_str!("projects/web/tests/run.sh")),
        (
            "build/addresses.txt",
            include_str!("projects/web/build/addresses.txt"),
        ),
    ],
    look: "cat README.md lib/slug.sh",
    check: "sh tests/run.sh",
    source: "lib/slug.sh",
    context: "slug() {",
    wrong: "    printf '%s\\n' \"$1\" | tr '[:upper:]' '[:lower:]' | tr ' ' '-'",
    right: "    printf '%s\\n' \"$1\" | tr '[:upper:]' '[:lower:]' | tr -s ' ' '-'",
    cause: "`README.md` wants one hyphen *however many spaces there are*, but `slug` turns every space into one.",
    fix: "`slug` now squeezes a run of spaces into one hyphen with `tr -s`.",
};

impl Project {
    /// Writes the project into a new folder.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        for (path, text) in self.files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        Ok(())
    }

    /// The patch that mends the mistake.
    pub(crate) fn mend(&self) -> String {
        self.patch(self.wrong, self.right)
    }

    /// The patch that makes the mistake again.
    pub(crate) fn spoil(&self) -> String {
        self.patch(self.right, self.wrong)
    }

    fn patch(&self, before: &str, after: &str) -> String {
        let (file, context) = (self.source, self.context);
        format!(
            "*** Begin Patch\n*** Update File: {file}\n@@\n {context}\n-{before}\n+{after}\n*** End Patch\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_checks_of_each_project_fail_until_its_mistake_is_mended() {
        for project in [API, WEB] {
            let folder = tempfile::tempdir().unwrap();
            project.write(folder.path()).unwrap();
            let check = || {
                let words: Vec<&str> = project.check.split(' ').collect();
                let output = Command::new(words[0])
                    .args(&words[1..])
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                (
                    output.status.success(),
                    text.lines().last().unwrap_or_default().to_owned(),
                )
            };
            assert_eq!(
                check(),
                (false, "passed: 2, failed: 1".to_owned()),
                "{}",
                project.name
            );
            let source = folder.path().join(project.source);
            let text = fs::read_to_string(&source).unwrap();
            let wrong = format!("{}\n{}\n", project.context, project.wrong);
            assert_eq!(
                text.matches(&wrong).count(),
                1,
                "the patch finds its place in {}",
                project.name
            );
            fs::write(&source, text.replace(project.wrong, project.right)).unwrap();
            assert_eq!(
                check(),
                (true, "passed: 3, failed: 0".to_owned()),
                "{}",
                project.name
            );
        }
    }
}
