"""The compose file, Prometheus and Grafana fit each other and the service's metrics."""

import json
import re

import yaml

from service.observability.metrics import Metrics
from tests.support.processes.examples import ROOT

FOLDER = ROOT / "examples" / "compose"


def test_dashboard_uses_metrics_that_the_service_exposes() -> None:
    # Of a counter, the text format declares the name with _total; of a histogram, the name without its suffixes.
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().exposition([]).decode(), re.MULTILINE)
    exposed = {name for name, _ in declared}
    exposed |= {name + end for name, kind in declared if kind == "histogram" for end in ("_bucket", "_sum", "_count")}
    dashboard = json.loads((FOLDER / "grafana/dashboards/ait.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in re.findall(r"\bait_\w+", expression)}
    assert used
    assert used <= exposed


def test_dashboard_names_the_provisioned_data_source() -> None:
    sources = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    dashboard = json.loads((FOLDER / "grafana/dashboards/ait.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {sources["datasources"][0]["uid"]}


def test_prometheus_scrapes_the_service_of_the_compose_file() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    jobs = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert jobs[0]["static_configs"][0]["targets"] == ["ait:8000"]
    assert services["ait"]["ports"] == ["127.0.0.1:8000:8000"]


def test_mounted_files_exist_where_grafana_looks() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    volumes = [volume.split(":") for service in services.values() for volume in service.get("volumes", [])]
    assert all((FOLDER / source).exists() for source, *_ in volumes)
    provider = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/ait.yaml").read_text())["providers"][0]
    assert provider["options"]["path"] in {target for _, target, _ in volumes}
