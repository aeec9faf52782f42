//! Keys of OpenSSL's older format with a passphrase: RFC 1421's headers around PKCS#1 or SEC 1.
//!
//! russh opens those of RSA with AES-128 (`ssh-keygen -m PEM`); OpenSSL writes, and OpenSSH reads, the others
//! too. The key is made of the passphrase with MD5 (EVP_BytesToKey(3)), which OpenSSL cannot change any more.

use aes::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use pkcs8::{EncryptedPrivateKeyInfoRef, pkcs5::EncryptionScheme};
use zeroize::{Zeroize, Zeroizing};

/// The bytes of the longest key, of AES-256.
const KEY_MAX: usize = 32;

const CIPHERS: [&str; 4] = ["AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "DES-EDE3-CBC"];

/// Whether a key of OpenSSL's with a passphrase is encrypted in a way that we can undo: nobody should be asked for
/// the passphrase of another one.
pub(super) fn is_readable(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    if let Some(info) = lines.clone().find_map(|it| it.strip_prefix("DEK-Info: ")) {
        let cipher = info.split(',').next().unwrap_or_default();
        return CIPHERS.contains(&cipher);
    }
    if !lines.any(|it| it == "-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return true;
    }
    let body: String = lines.take_while(|it| !it.starts_with("-----END ")).collect();
    let Ok(bytes) = BASE64.decode(body.as_bytes()) else {
        return false;
    };
    // PBES1 is PKCS#5's first scheme, with DES or RC2 and MD5 or SHA-1 (RFC 8018, 6.1).
    EncryptedPrivateKeyInfoRef::try_from(bytes.as_slice())
        .is_ok_and(|it| !matches!(it.encryption_algorithm, EncryptionScheme::Pbes1(_)))
}

/// The same key without a passphrase, when this is such a file and the passphrase fits; the check is the
/// padding, so that one wrong passphrase in 256 gives garbage. `None` when it is no such file, or not with
/// a cipher that we have.
pub(super) fn decrypt(text: &str, passphrase: &str) -> Option<Result<Zeroizing<String>, Wrong>> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .skip_while(|it| !it.starts_with("-----BEGIN "));
    let begin = lines.next()?;
    let (mut cipher, mut body) = (None, Zeroizing::new(String::new()));
    for line in lines.take_while(|it| !it.starts_with("-----END ")) {
        match line.split_once(": ") {
            Some(("DEK-Info", it)) => cipher = it.split_once(','),
            Some(_) => {}
            None => body.push_str(line),
        }
    }
    let (cipher, iv) = cipher?;
    let iv = HEXLOWER_PERMISSIVE.decode(iv.trim().as_bytes()).ok()?;
    let mut bytes = Zeroizing::new(BASE64.decode(body.as_bytes()).ok()?);
    let key = derive(passphrase, iv.get(..8)?);
    let opened = match cipher {
        "AES-128-CBC" => unpad::<cbc::Decryptor<aes::Aes128>>(&key[..16], &iv, &mut bytes),
        "AES-192-CBC" => unpad::<cbc::Decryptor<aes::Aes192>>(&key[..24], &iv, &mut bytes),
        "AES-256-CBC" => unpad::<cbc::Decryptor<aes::Aes256>>(&key[..32], &iv, &mut bytes),
        "DES-EDE3-CBC" => unpad::<cbc::Decryptor<des::TdesEde3>>(&key[..24], &iv, &mut bytes),
        _ => return None,
    };
    Some(opened.map(|it| {
        let inside = Zeroizing::new(BASE64.encode(it));
        Zeroizing::new(format!(
            "{begin}\n{}\n{}\n",
            *inside,
            begin.replacen("BEGIN", "END", 1)
        ))
    }))
}

/// The passphrase does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong;

fn unpad<'a, D: BlockModeDecrypt + KeyIvInit>(
    key: &[u8],
    iv: &[u8],
    bytes: &'a mut [u8],
) -> Result<&'a [u8], Wrong> {
    let decryptor = D::new_from_slices(key, iv).map_err(|_| Wrong)?;
    decryptor.decrypt_padded::<Pkcs7>(bytes).map_err(|_| Wrong)
}

/// EVP_BytesToKey(3) with MD5 and one round.
fn derive(passphrase: &str, salt: &[u8]) -> Zeroizing<[u8; KEY_MAX]> {
    let mut key = Zeroizing::new([0; KEY_MAX]);
    let mut last: Option<[u8; 16]> = None;
    for part in key.chunks_mut(16) {
        let mut hash = md5::Context::new();
        hash.consume(last.as_ref().map_or(&[][..], |it| it));
        hash.consume(passphrase.as_bytes());
        hash.consume(salt);
        let made = hash.finalize().0;
        part.copy_from_slice(&made[..part.len()]);
        last.zeroize();
        last = Some(made);
    }
    last.zeroize();
    key
}
