//! Tasks choose their hosts, so that a thousand of them must cost no more than a few.

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_hosts_take_little_memory() {
    use databricks_client::{ClientPool, Host};

    use crate::{child, workspace::token};

    // In a process of its own, where nobody else takes memory.
    if child::server().is_none() {
        child::run("many_hosts::a_thousand_hosts_take_little_memory", "its own", &[]);
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
    assert_eq!(pool.workspaces().len(), 1_000);
    let taken = resident_kib().saturating_sub(before);
    assert!(taken < 20 * 1024, "{taken} KiB");
}
