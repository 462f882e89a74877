//! Memory for many hosts. Tasks choose their host, so each host must be cheap.

#[cfg(target_os = "linux")]
#[test]
fn thousand_hosts_use_little_memory() {
    use databricks_client::{ClientPool, Host};

    use crate::{child_process, fixture::token};

    // In a child process, since other tests allocate memory.
    if child_process::server().is_none() {
        child_process::run("many_hosts::thousand_hosts_use_little_memory", "its own", &[]);
        return;
    }
    let resident_kib = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let pool = ClientPool::builder().build().unwrap();
    let call = |number: usize| {
        let host: Host = format!("dbc-{number}.cloud.databricks.com").parse().unwrap();
        pool.client(&host, token());
    };
    call(0);
    let before = resident_kib();
    (0..1_000).for_each(call);
    assert_eq!(pool.snapshots().len(), 1_000);
    let used = resident_kib().saturating_sub(before);
    assert!(used < 20 * 1024, "{used} KiB");
}
