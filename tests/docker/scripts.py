"""Python code that test_services.py runs in the services' boxes."""

RUNS = """
import json, mlflow
client = mlflow.MlflowClient("http://mlflow:5000")
def files(run, path=None):
    for file in client.list_artifacts(run, path):
        yield from files(run, file.path) if file.is_dir else [file.path]
(experiment,) = client.search_experiments(filter_string="name != 'Default'")
runs = client.search_runs([experiment.experiment_id])
print(json.dumps([r.to_dictionary() | {"files": list(files(r.info.run_id))} for r in runs]))
"""
STORE = """
import json, boto3
client = boto3.client("s3", endpoint_url="http://s3:8333")
pages = client.get_paginator("list_objects_v2").paginate(Bucket="mlflow")
print(json.dumps({o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}))
"""
DATABASE = """
import psycopg
{password}
cursor = psycopg.connect("postgresql://mlflow@postgres:5432/mlflow", password=password).cursor()
cursor.execute("select count(*) from runs")
print(cursor.fetchone()[0])
"""
ONCE = """
from study.records.records import Records
from tests.chaos.compare import mlflow_rows, recorded_rows
records = Records("/shared/runs/acgan_kmnist_classes")
assert mlflow_rows("http://mlflow:5000", records.folder.name) == recorded_rows(records)
"""
LOAD = """
import mlflow
from study import load_generator as load
mlflow.set_tracking_uri("http://mlflow:5000")
G = load("models:/acgan_kmnist_classes.classes-5/1")
print(*G(labels=[0, 4], seed=0).shape)
"""
STATUS = """
import urllib.request, urllib.error
request = urllib.request.Request({url!r}, headers={headers!r})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
"""
