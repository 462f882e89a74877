//! The Clusters API.

use databricks_client::{
    ErrorKind, JobsApiVersion,
    clusters::{ClusterState, ClusterTerminationType},
};
use serde_json::json;
use wiremock::{
    Mock, MockServer,
    matchers::{method, path, query_param},
};

use crate::fixture::{answer, builder, client, client_of};

#[tokio::test]
async fn termination_reason_of_a_cluster_is_parsed() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/api/2.1/clusters/get"))
        .and(query_param("cluster_id", "0801-120000-abcdefgh"))
        .respond_with(answer(
            200,
            json!({
                "cluster_id": "0801-120000-abcdefgh", "cluster_memory_mb": 32768, "cluster_cores": 4.0,
                "state": "TERMINATED", "state_message": "Driver is out of memory",
                "spark_context_id": 2_683_025_026_034_934_417_i64,
                "driver": {"private_ip": "10.0.0.1", "node_id": "n-1", "start_timestamp": 1},
                "executors": [{"private_ip": "10.0.0.2"}],
                "termination_reason": {"code": "DRIVER_OUT_OF_MEMORY", "type": "CLIENT_ERROR",
                                       "parameters": {"databricks_error_message": "the driver died"}}
            }),
        ))
        .expect(1)
        .mount(&server)
        .await;
    let cluster = client(&server).get_cluster("0801-120000-abcdefgh").await.unwrap();
    assert_eq!(cluster.state, Some(ClusterState::Terminated));
    assert_eq!(cluster.spark_context_id, Some(2_683_025_026_034_934_417));
    assert_eq!(cluster.driver.unwrap().node_id.as_deref(), Some("n-1"));
    let reason = cluster.termination_reason.unwrap();
    assert_eq!(reason.code.as_deref(), Some("DRIVER_OUT_OF_MEMORY"));
    assert_eq!(reason.kind, Some(ClusterTerminationType::ClientError));
    assert_eq!(reason.parameters["databricks_error_message"], "the driver died");
}

#[tokio::test]
async fn unknown_cluster_is_invalid_and_not_run_not_found() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.1/clusters/get"))
        .respond_with(answer(
            400,
            json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Cluster c does not exist"}),
        ))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(client(&server).get_cluster("c").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn cluster_path_is_independent_of_the_jobs_api_version() {
    let server = MockServer::start().await;
    Mock::given(path("/api/2.1/clusters/get"))
        .respond_with(answer(404, json!({"error": "Bad Target: /api/2.1/clusters/get"})))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/2.2/jobs/runs/list"))
        .respond_with(answer(200, json!({})))
        .expect(1)
        .mount(&server)
        .await;
    let client = client_of(builder().jobs_api(JobsApiVersion::V2_2), &server.uri());
    assert_eq!(client.get_cluster("c").await.unwrap_err().kind(), ErrorKind::NotFound);
    // An error of the Clusters API does not change the version of the Jobs API.
    client.list_runs(&databricks_client::jobs::ListRuns::default()).await.unwrap();
}
