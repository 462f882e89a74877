//! Process metrics under the names of the official Prometheus clients. Read from `/proc`; absent on other systems than
//! Linux.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Clock ticks per second in `/proc`, a constant of Linux's user-space interface.
const TICKS: f64 = 100.0;

/// Reads the values at scrape time.
#[derive(Debug)]
pub(super) struct Process {
    /// Start time in seconds since the epoch.
    started: f64,
}

impl Process {
    /// Uses the current time as start time.
    pub(super) fn now() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: started.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, value: Option<f64>| -> fmt::Result {
            let Some(value) = value else { return Ok(()) };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)
        };
        gauge(
            "process_start_time_seconds",
            "Start time of the process in seconds since the epoch",
            Some(self.started),
        )?;
        gauge("process_resident_memory_bytes", "Resident memory size", resident())?;
        gauge("process_open_fds", "Number of open file descriptors", open_files())?;
        let Some(seconds) = cpu() else { return Ok(()) };
        let help = "Total user and system CPU time";
        let metric =
            encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(seconds).encode(metric)
    }
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0)
}

fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}

/// Returns user and system time: fields 12 and 13 after the process name, which may contain spaces.
fn cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> Option<f64> { fields.get(index)?.parse().ok() };
    Some((ticks(11)? + ticks(12)?) / TICKS)
}
