//! Thread ids: UUIDv7, with time and randomness as inputs.

use codex_protocol::ThreadId;
use uuid::Uuid;

use crate::error::StoreError;

/// A UUIDv7 (RFC 9562, 5.7) in its hyphenated lower-case form; `unix_ms` is in milliseconds.
///
/// Also used for turns and items: wrap [`uuid_v7`] for those.
pub fn thread_id(unix_ms: u64, random: [u8; 10]) -> ThreadId {
    ThreadId(uuid_v7(unix_ms, random))
}

/// The text of a UUIDv7. `random` must come from a good source: it makes the id unique within a millisecond.
pub fn uuid_v7(unix_ms: u64, random: [u8; 10]) -> String {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, &random)
        .into_uuid()
        .hyphenated()
        .to_string()
}

/// The id as a file name. Only canonical UUIDs pass: ids come from clients, and `../` must not become a path.
pub(crate) fn file_stem(id: &ThreadId) -> Result<&str, StoreError> {
    let canonical = Uuid::try_parse(&id.0).is_ok_and(|uuid| uuid.hyphenated().to_string() == id.0);
    if canonical {
        Ok(&id.0)
    } else {
        Err(StoreError::invalid_id(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_time_and_sorts_by_it() {
        let early = thread_id(1_795_345_003_000, [0xff; 10]);
        let late = thread_id(1_795_345_003_001, [0; 10]);
        assert!(early < late, "{early} {late}");
        let uuid = Uuid::try_parse(&early.0).unwrap();
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(&early.0[..13], "01a202e6-b1f8");
    }

    #[test]
    fn what_is_not_a_canonical_uuid_never_becomes_a_path() {
        for bad in [
            "",
            "../x",
            "01A202E6-B178-7000-8000-000000000000",
            "01a202e6b17870008000000000000000",
            "a/b",
        ] {
            assert!(file_stem(&ThreadId::from(bad)).is_err(), "{bad}");
        }
        assert!(file_stem(&thread_id(1, [3; 10])).is_ok());
    }
}
