//! What a vendor's module writes to the standard output and standard error of its process: lines for the log.

use std::io::Read;

/// The longest line; what is longer comes in parts.
const LINE_BYTES_MAX: usize = 1024;

/// Lines of one process; a module that says more is not listened to any further.
const LINES_MAX: usize = 10_000;

/// Reads lines until the end of the pipe. The pipe is emptied to its end also when nobody listens any more: a
/// module that writes must not block.
pub(super) fn read(mut pipe: impl Read, mut on_line: impl FnMut(String)) {
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    let mut lines = 0;
    let mut end = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r');
        if !text.is_empty() && lines <= LINES_MAX {
            lines += 1;
            on_line(if lines > LINES_MAX {
                format!("(it has written {LINES_MAX} lines; the rest is left out)")
            } else {
                text.to_owned()
            });
        }
        line.clear();
    };
    loop {
        let read = match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for byte in &buffer[..read] {
            if *byte == b'\n' || line.len() == LINE_BYTES_MAX {
                end(&mut line);
            }
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
    }
    end(&mut line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        read(text, |line| lines.push(line));
        lines
    }

    #[test]
    fn lines_come_whole_bounded_and_without_their_ends() {
        assert_eq!(lines(b"one\r\n\ntwo"), ["one", "two"]);
        let long = [b'x'; LINE_BYTES_MAX + 7];
        let parts = lines(&long);
        assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 7]);
    }

    #[test]
    fn a_module_that_never_stops_is_cut_off_and_still_read_to_its_end() {
        let text = "x\n".repeat(LINES_MAX + 100);
        let lines = lines(text.as_bytes());
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert!(lines[LINES_MAX].contains("left out"), "{}", lines[LINES_MAX]);
    }
}
