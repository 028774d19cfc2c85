//! Latencies of each second of the steady phase in HdrHistogram's interval log format (version 1.3 of its
//! writer), in nanoseconds; the maximum that stands beside each is in milliseconds, as its readers expect.

use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::run::Outcome;

pub(super) fn of(outcome: &Outcome) -> Result<Vec<u8>, String> {
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Logged with countersign-loadgen; values are nanoseconds]")
        .with_start_time(outcome.started)
        .with_base_time(outcome.started)
        .with_max_value_divisor(1_000_000.0);
    let mut writer = builder
        .begin_log_with(&mut log, &mut serializer)
        .map_err(|error| format!("the log cannot be begun: {error}"))?;
    for (number, second) in outcome.tally.series.iter().enumerate() {
        if let Some(latency) = &second.latency {
            writer
                .write_histogram(
                    latency,
                    Duration::from_secs(number as u64),
                    Duration::from_secs(1),
                    None,
                )
                .map_err(|error| format!("a histogram cannot be written: {error:?}"))?;
        }
    }
    Ok(log)
}
