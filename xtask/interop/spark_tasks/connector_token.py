"""A Databricks task class whose tasks use the connector's token.

`flyteplugins.databricks.Databricks` always writes the name of a Flyte secret into its tasks, even without one. The
executor of open-source Flyte has no secrets and fails such a task before it calls the connector. This class omits the
name. Use it in place of `Databricks`, with the same parameters.
"""

from dataclasses import dataclass
from typing import Any

from flyte.extend import TaskPluginRegistry
from flyte.models import SerializationContext
from flyteplugins.databricks import Databricks
from flyteplugins.databricks.task import DatabricksFunctionTask


@dataclass
class DatabricksByConnector(Databricks):
    """Like `Databricks`, without a secret; `databricks_token` is ignored."""


class DatabricksByConnectorTask(DatabricksFunctionTask):
    """A function task that runs on Databricks with the connector's token."""

    def custom_config(self, sctx: SerializationContext) -> dict[str, Any]:
        config = super().custom_config(sctx)
        config.pop("secrets", None)
        return config


TaskPluginRegistry.register(DatabricksByConnector, DatabricksByConnectorTask)
