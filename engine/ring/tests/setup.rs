//! What is refused when a ring is opened, and in which words.

mod worker;

use countersign_ring::{BufferPool, Ring, Settings, SetupError, features};
use rustix::process::{Resource, getrlimit};
use worker::SETTINGS;

fn refused(settings: Settings) -> SetupError {
    match Ring::open(&settings) {
        Ok(_) => panic!("{settings:?} made a ring"),
        Err(error) => error,
    }
}

#[test]
fn a_table_beyond_the_limit_of_open_files_says_what_to_raise() {
    let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < 1 << 20) else {
        return; // No table that a kernel takes is beyond this limit.
    };
    let error = refused(Settings { slots: limit as u32 + 1, ..SETTINGS });
    let message = error.to_string();
    assert!(matches!(error, SetupError::FilesLimit { .. }), "{error:?}");
    assert!(message.contains(&format!("a table of {} descriptors", limit + 1)), "{message}");
    assert!(message.contains(&format!("only {limit} open files")), "{message}");
    assert!(message.contains("raise RLIMIT_NOFILE (LimitNOFILE= of the systemd unit"), "{message}");
}

#[test]
fn impossible_sizes_are_refused_by_name() {
    let message = |settings| match refused(settings) {
        error @ SetupError::InvalidSettings { .. } => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(message(Settings { submission_entries: 0, ..SETTINGS }).contains("submission queue"));
    assert!(message(Settings { slots: 0, ..SETTINGS }).contains("slots"));
    assert!(message(Settings { slots: 1 << 21, ..SETTINGS }).contains("slots"));
    assert!(
        message(Settings { buffers: BufferPool { count: 0, ..SETTINGS.buffers }, ..SETTINGS })
            .contains("power of two")
    );
    assert!(
        message(Settings { buffers: BufferPool { count: 48, ..SETTINGS.buffers }, ..SETTINGS })
            .contains("power of two")
    );
    assert!(
        message(Settings { large_buffers: BufferPool { count: 1, bytes: 0 }, ..SETTINGS })
            .contains("bytes")
    );
}

#[test]
fn the_smallest_ring_opens() {
    let smallest = Settings {
        submission_entries: 1,
        slots: 1,
        buffers: BufferPool { count: 1, bytes: 1 },
        large_buffers: BufferPool { count: 1, bytes: 1 },
    };
    let ring = Ring::open(&smallest).unwrap();
    assert_eq!((ring.slots(), ring.slots_free(), ring.in_flight()), (1, 1, 0));
}

#[test]
fn features_name_the_kernel() {
    let features = features().unwrap();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(features.release, release.trim());
    assert!(features.to_string().starts_with(&format!("Linux {}, io_uring with ", release.trim())));
    assert_eq!(Ring::open(&SETTINGS).unwrap().features(), &features);
}
