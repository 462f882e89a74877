//! What the process itself takes, under the names that Prometheus' own clients use. Linux tells it in `/proc`; where it
//! does not, there are no such numbers.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Clock ticks a second in `/proc`: a constant of Linux' interface to programs.
const TICKS: f64 = 100.0;

/// Reads the figures whenever metrics are read.
#[derive(Debug)]
pub(super) struct Process {
    /// Since the epoch, in seconds.
    started: f64,
}

impl Process {
    /// The process, which starts now.
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
        gauge("process_start_time_seconds", "When the process started", Some(self.started))?;
        gauge("process_resident_memory_bytes", "Memory that the process has in RAM", resident())?;
        gauge("process_open_fds", "Files and sockets that the process has open", open_files())?;
        let Some(seconds) = cpu() else { return Ok(()) };
        let help = "Time of processors that the process took";
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

/// User and system time: the twelfth and the thirteenth field behind the name, which may hold blanks itself.
fn cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = |place: usize| -> Option<f64> { fields.get(place)?.parse().ok() };
    Some((ticks(11)? + ticks(12)?) / TICKS)
}
