//! Validation of statements, and their states and results.

use super::*;

fn body(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn statements() -> StatementStore {
    let statements = StatementStore::new(&["w".to_owned()], "https://localhost:1".to_owned());
    let rows = StatementRows::new(
        [("n", "INT"), ("who", "STRING")],
        [["1", ":who"], ["2", "x"], ["3", "y"]],
    );
    let script = StatementScript { rows_per_chunk: 2, ..StatementScript::rows(rows) };
    statements.set_script("FROM t".to_owned(), script);
    statements
}

#[test]
fn invalid_requests_are_rejected() {
    let statements = statements();
    for (change, expected) in [
        (json!({"statement": null}), "Missing required field: statement."),
        (json!({"statement": " "}), "Missing required field: statement."),
        (json!({"warehouse_id": null}), "Missing required field: warehouse_id."),
        (json!({"warehouse_id": "other"}), "SQL warehouse other does not exist."),
        (json!({"wait_timeout": "4s"}), "wait_timeout must be 0s, or from 5s to 50s"),
        (json!({"wait_timeout": "51s"}), "wait_timeout"),
        (json!({"wait_timeout": "10"}), "wait_timeout"),
        (json!({"on_wait_timeout": "STOP"}), "one of CONTINUE, CANCEL"),
        (json!({"disposition": "LINKS"}), "one of INLINE, EXTERNAL_LINKS"),
        (json!({"format": "CSV"}), "needs disposition EXTERNAL_LINKS"),
        (json!({"row_limit": 0}), "row_limit must be a positive integer"),
        (json!({"parameters": {}}), "parameters must be a list"),
        (json!({"parameters": [{"value": "1"}]}), "Missing required field: name."),
        (json!({"parameters": [{"name": "a", "value": 1}]}), "parameter a must be a string"),
        (
            json!({"parameters": [{"name": "a", "type": "NUMBER"}]}),
            "NUMBER of parameter a is unknown",
        ),
        (
            json!({"parameters": [{"name": "a", "value": "x", "type": "BIGINT"}]}),
            "cannot be cast to BIGINT",
        ),
        (json!({"parameters": [{"name": "a"}, {"name": "a"}]}), "given twice"),
    ] {
        let mut request = body(json!({"statement": "SELECT n FROM t", "warehouse_id": "w"}));
        request.extend(body(change.clone()));
        let error = statements.execute(&request).unwrap_err();
        assert!(error.message.contains(expected), "{change}: {}", error.message);
    }
    assert_eq!(statements.summaries(), []);
}

#[test]
fn unbound_marker_fails_the_statement_with_status_200() {
    let statements = statements();
    for text in ["SELECT n FROM t WHERE who = :who", "SELECT n FROM t WHERE who = ?"] {
        let request =
            json!({"statement": text, "warehouse_id": "w", "parameters": [{"name": "other"}]});
        let answer = statements.execute(&body(request)).unwrap();
        assert_eq!(answer["status"]["state"], "FAILED");
        assert_eq!(answer["status"]["sql_state"], "42P02");
        assert_eq!(answer["result"], Value::Null);
    }
}

#[test]
fn statement_is_polled_until_it_succeeds_and_returns_its_result_in_chunks() {
    let statements = statements();
    let mut script = statements.lock().scripts[0].1.clone();
    (script.pending_polls, script.running_polls) = (1, 1);
    statements.set_script("FROM t".to_owned(), script);
    let request = json!({"statement": "SELECT n, :who FROM t", "warehouse_id": "w", "wait_timeout": "0s",
        "parameters": [{"name": "who", "value": "me"}]});
    let accepted = statements.execute(&body(request)).unwrap();
    let id = accepted["statement_id"].as_str().unwrap();
    let states: Vec<Value> =
        (0..3).map(|_| statements.get(id).unwrap()["status"]["state"].clone()).collect();
    assert_eq!(states, ["PENDING", "RUNNING", "SUCCEEDED"]);
    let answer = statements.get(id).unwrap();
    assert_eq!(answer["manifest"]["total_chunk_count"], 2);
    assert_eq!(answer["result"]["data_array"], json!([["1", "me"], ["2", "x"]]));
    assert_eq!(answer["result"]["next_chunk_index"], 1);
    let last = statements.chunk(id, "1").unwrap();
    assert_eq!(
        (&last["data_array"], &last["next_chunk_index"]),
        (&json!([["3", "y"]]), &Value::Null)
    );
    assert!(statements.chunk(id, "2").is_err());
    assert!(statements.get("other").is_err());
    // Cancelling a finished statement changes nothing.
    statements.cancel(id).unwrap();
    assert_eq!(statements.summaries()[0].state, "SUCCEEDED");
}

#[test]
fn cancelled_statement_has_no_result() {
    let statements = statements();
    statements.set_script(
        "FROM t".to_owned(),
        StatementScript { pending_polls: 9, ..StatementScript::default() },
    );
    let request = json!({"statement": "SELECT n FROM t", "warehouse_id": "w"});
    let id = statements.execute(&body(request.clone())).unwrap()["statement_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(statements.chunk(&id, "0").is_err());
    statements.cancel(&id).unwrap();
    assert_eq!(statements.get(&id).unwrap()["status"]["state"], "CANCELED");
    // `on_wait_timeout: CANCEL` cancels too.
    let mut cancelling = body(request);
    cancelling.insert("on_wait_timeout".to_owned(), json!("CANCEL"));
    assert_eq!(statements.execute(&cancelling).unwrap()["status"]["state"], "CANCELED");
}
