WITH minutes AS (
  SELECT cluster_id, instance_id, driver, node_type,
         CAST(ceil((unix_millis(start_time) - :anchor) / :step) AS BIGINT) AS step,
         cpu_user_percent + cpu_system_percent AS cpu_percent, mem_used_percent AS memory_percent
  FROM system.compute.node_timeline
  WHERE cluster_id IN (:cluster_0, :cluster_1, :cluster_2, :cluster_3, :cluster_4, :cluster_5, :cluster_6, :cluster_7,
                       :cluster_8, :cluster_9, :cluster_10, :cluster_11, :cluster_12, :cluster_13, :cluster_14, :cluster_15)
    AND start_time >= timestamp_millis(:from) AND start_time <= timestamp_millis(:until)
), sizes AS (
  SELECT node_type, max(core_count) AS core_count, max(memory_mb) AS memory_mb
  FROM system.compute.node_types GROUP BY node_type
)
SELECT m.cluster_id, m.instance_id, m.driver, m.node_type, m.step,
       avg(m.cpu_percent) AS cpu_percent, avg(m.memory_percent) AS memory_percent,
       max(s.core_count) AS core_count, max(s.memory_mb) AS memory_mb
FROM minutes m LEFT JOIN sizes s ON m.node_type = s.node_type
GROUP BY m.cluster_id, m.instance_id, m.driver, m.node_type, m.step
ORDER BY m.cluster_id, m.instance_id, m.step
