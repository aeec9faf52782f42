//! The program that is put on hosts: its bytes, their hash, and where it can run.

use std::{fmt::Write, fs, io, path::Path};

use bytes::Bytes;
use object::{
    Architecture, BinaryFormat, File, Object,
    elf::PT_INTERP,
    read::elf::{ElfFile, FileHeader, ProgramHeader},
};
use sha2::{Digest, Sha256};

/// A longer file is no program of ours; with debugging information it has about 150 MB.
const BYTES_MAX: u64 = 1 << 30;

/// A program for hosts of one kind. Cheap to share; about as large in memory as its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(super) bytes: Bytes,
    pub(super) sha256: String,
    system: System,
    needs_libraries: bool,
}

/// Where a program runs, in the words of `uname -sm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct System {
    name: &'static str,
    /// What different systems call this processor; the first one is said.
    machines: &'static [&'static str],
}

/// Why a file cannot be put on a host.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("reading {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} is longer than {BYTES_MAX} bytes")]
    TooLong(String),
    #[error("{path} is no program that a host could run: {why}")]
    NoProgram { path: String, why: String },
}

impl Program {
    /// Reads a program and finds out where it runs. Blocking.
    pub fn read(path: &Path) -> Result<Program, ProgramError> {
        let name = path.display().to_string();
        let failed = |source| ProgramError::Read {
            path: name.clone(),
            source,
        };
        let data = fs::metadata(path).map_err(failed)?;
        if data.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        // A pipe would wait for its other end, and a device has none.
        if !data.is_file() {
            let why = "it is no regular file".to_owned();
            return Err(ProgramError::NoProgram { path: name, why });
        }
        if BYTES_MAX < data.len() {
            return Err(ProgramError::TooLong(name));
        }
        let bytes = fs::read(path).map_err(failed)?;
        Program::new(bytes).map_err(|why| ProgramError::NoProgram { path: name, why })
    }

    /// The error says what the bytes are not.
    fn new(bytes: Vec<u8>) -> Result<Program, String> {
        let (system, needs_libraries) = {
            let file = File::parse(&*bytes).map_err(|error| error.to_string())?;
            let system = System::of(file.format(), file.architecture());
            let system = system.ok_or_else(|| {
                format!(
                    "{:?} for {:?} is not known here",
                    file.format(),
                    file.architecture()
                )
            })?;
            let needs_libraries = match &file {
                File::Elf32(file) => has_interpreter(file),
                File::Elf64(file) => has_interpreter(file),
                // macOS has its libraries everywhere, and no other way to the kernel.
                _ => false,
            };
            (system, needs_libraries)
        };
        Ok(Program {
            sha256: hex(&Sha256::digest(&bytes)),
            bytes: bytes.into(),
            system,
            needs_libraries,
        })
    }

    /// Its size in bytes. Never 0.
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The SHA-256 of its bytes, in lower-case hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Where it runs, e.g. `Linux x86_64`.
    pub fn system(&self) -> String {
        let machine = self.system.machines.first().copied().unwrap_or_default();
        format!("{} {machine}", self.system.name)
    }

    /// Whether it needs the C library of the host (ELF's `PT_INTERP`): an older one than that of the machine it
    /// was built on may not do, and another kind never does.
    pub fn needs_libraries(&self) -> bool {
        self.needs_libraries
    }

    /// Whether it runs where `uname -sm` says this.
    pub(super) fn runs_on(&self, uname: &str) -> bool {
        self.system.is(uname)
    }

    /// The SHA-256 of its first bytes; `None` when it has not so many.
    pub(super) fn sha256_of_first(&self, length: u64) -> Option<String> {
        let length = usize::try_from(length).ok()?;
        Some(hex(&Sha256::digest(self.bytes.get(..length)?)))
    }
}

impl System {
    fn of(format: BinaryFormat, architecture: Architecture) -> Option<System> {
        let system = |name, machines| Some(System { name, machines });
        match (format, architecture) {
            (BinaryFormat::Elf, Architecture::X86_64) => system("Linux", &["x86_64"]),
            (BinaryFormat::Elf, Architecture::Aarch64) => system("Linux", &["aarch64"]),
            (BinaryFormat::Elf, Architecture::Arm) => system("Linux", &["armv7l", "armv6l", "armv8l"]),
            (BinaryFormat::Elf, Architecture::I386) => system("Linux", &["i686", "i586", "i386"]),
            (BinaryFormat::Elf, Architecture::Riscv64) => system("Linux", &["riscv64"]),
            (BinaryFormat::Elf, Architecture::PowerPc64) => system("Linux", &["ppc64le"]),
            (BinaryFormat::Elf, Architecture::S390x) => system("Linux", &["s390x"]),
            (BinaryFormat::Elf, Architecture::LoongArch64) => system("Linux", &["loongarch64"]),
            (BinaryFormat::MachO, Architecture::X86_64) => system("Darwin", &["x86_64"]),
            (BinaryFormat::MachO, Architecture::Aarch64) => system("Darwin", &["arm64"]),
            _ => None,
        }
    }

    fn is(self, uname: &str) -> bool {
        let mut words = uname.split_whitespace();
        let (name, machine) = (words.next(), words.next());
        name == Some(self.name) && machine.is_some_and(|it| self.machines.contains(&it))
    }
}

/// Whether there may be a build of this program for a system of which `uname -sm` says this.
pub(crate) fn is_supported(uname: &str) -> bool {
    matches!(uname.split_whitespace().next(), Some("Linux" | "Darwin"))
}

/// Whether a build of this very program runs where `uname -sm` says this.
pub(crate) fn is_like_this_machine(uname: &str) -> bool {
    let format = match std::env::consts::OS {
        "linux" => BinaryFormat::Elf,
        "macos" => BinaryFormat::MachO,
        _ => return false,
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "arm" => Architecture::Arm,
        "x86" => Architecture::I386,
        "riscv64" => Architecture::Riscv64,
        "powerpc64" => Architecture::PowerPc64,
        "s390x" => Architecture::S390x,
        "loongarch64" => Architecture::LoongArch64,
        _ => return false,
    };
    System::of(format, architecture).is_some_and(|it| it.is(uname))
}

fn has_interpreter<Elf: FileHeader>(file: &ElfFile<'_, Elf>) -> bool {
    let endian = file.endian();
    let mut headers = file.elf_program_headers().iter();
    headers.any(|it| it.p_type(endian) == PT_INTERP)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header for 64 bits without any code.
    fn elf(machine: u16) -> Vec<u8> {
        let mut header = vec![0_u8; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        header[16] = 2;
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header[20] = 1;
        header[52] = 64;
        header[54] = 56;
        header[58] = 64;
        header
    }

    #[test]
    fn a_program_runs_only_where_its_header_says() {
        let program = Program::new(elf(183)).unwrap();
        assert_eq!(program.system(), "Linux aarch64");
        for (uname, runs) in [
            ("Linux aarch64", true),
            ("Linux x86_64", false),
            ("Darwin aarch64", false),
            ("Linux", false),
            ("", false),
        ] {
            assert_eq!(program.runs_on(uname), runs, "{uname}");
        }
        assert!(!program.needs_libraries());
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for bytes in [
            b"#!/bin/sh\n".to_vec(),
            Vec::new(),
            elf(183)[..40].to_vec(),
            elf(0xffff),
        ] {
            assert!(Program::new(bytes.clone()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        for path in [Path::new("/dev/zero"), &pipe] {
            let error = Program::read(path).unwrap_err().to_string();
            assert!(error.contains("no regular file"), "{error}");
        }
        let error = Program::read(folder.path()).unwrap_err();
        assert!(matches!(error, ProgramError::Read { .. }), "{error}");
    }

    #[test]
    fn the_running_test_says_whether_it_needs_libraries() {
        let program = Program::read(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(program.needs_libraries(), !cfg!(target_feature = "crt-static"));
        let uname = rustix::system::uname();
        let uname = format!(
            "{} {}",
            uname.sysname().to_string_lossy(),
            uname.machine().to_string_lossy()
        );
        assert!(program.runs_on(&uname), "{uname}");
        assert!(is_like_this_machine(&uname) && !is_like_this_machine("Linux riscv32"));
    }

    #[test]
    fn hashes_are_those_that_sha256sum_prints() {
        let program = Program::new(elf(62)).unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(program.sha256_of_first(0).as_deref(), Some(empty));
        assert_eq!(program.sha256_of_first(64).as_deref(), Some(program.sha256()));
        assert_eq!(program.sha256_of_first(65), None);
    }
}
