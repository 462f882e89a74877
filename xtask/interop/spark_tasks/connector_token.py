"""A task class for Databricks whose tasks run on the connector's own token.

`flyteplugins.databricks.Databricks` always writes the name of a Flyte secret into its tasks, also when there is none.
The executor of open-source Flyte has no secrets and fails such a task before it calls the connector. This class
leaves the name out. Use it in the place of `Databricks`, with the same parameters.
"""

from dataclasses import dataclass
from typing import Any

from flyte.extend import TaskPluginRegistry
from flyte.models import SerializationContext
from flyteplugins.databricks import Databricks
from flyteplugins.databricks.task import DatabricksFunctionTask


@dataclass
class DatabricksByConnector(Databricks):
    """As `Databricks`, without a token of the task: `databricks_token` is not used."""


class DatabricksByConnectorTask(DatabricksFunctionTask):
    """A function that runs on Databricks with the connector's own token."""

    def custom_config(self, sctx: SerializationContext) -> dict[str, Any]:
        config = super().custom_config(sctx)
        config.pop("secrets", None)
        return config


TaskPluginRegistry.register(DatabricksByConnector, DatabricksByConnectorTask)
