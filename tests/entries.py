"""Entries as each engine writes them, of the shapes that are published, with content of our own."""

from typing import Any

from support import entry as postgresql

__all__ = ["BY_ENGINE", "mysql", "oracle", "postgresql", "sqlserver"]


def mysql(text: str | None = "SELECT * FROM orders", **members: Any) -> dict[str, Any]:
    """An event of a statement (`MAIN`) as Aurora MySQL 1.2 writes it."""
    return {
        "logTime": "2026-11-23 07:28:04.940668+00",
        "type": "record",
        "clientApplication": None,
        "pid": 4711,
        "dbUserName": "davide",
        "databaseName": "shop",
        "remoteHost": "10.0.3.7",
        "remotePort": "40112",
        "command": "QUERY",
        "commandText": text,
        "paramList": None,
        "objectType": "TABLE",
        "objectName": "orders",
        "statementId": 900123,
        "substatementId": 1,
        "exitCode": "0",
        "sessionId": "8150",
        "rowCount": 3,
        "serverHost": "shop-node-1",
        "serverType": "MySQL",
        "serviceName": "Amazon Aurora MySQL",
        "serverVersion": "MySQL 8.0.32",
        "startTime": "2026-11-23 07:28:04.920564+00",
        "endTime": "2026-11-23 07:28:04.940667+00",
        "transactionId": "0",
        "dbProtocol": "MySQL",
        "netProtocol": "TCP",
        "errorMessage": "",
        "class": "MAIN",
    } | members


def mysql_auxiliary(**members: Any) -> dict[str, Any]:
    """What comes beside `mysql()`, for the table that the statement read."""
    auxiliary = {"class": "AUX", "command": "READ", "substatementId": 2, "exitCode": ""}
    return mysql("orders", rowCount=0, **auxiliary) | members


def oracle(text: str | None = "select * from orders", **members: Any) -> dict[str, Any]:
    """An entry as RDS for Oracle 1.3 writes it: without a type."""
    return {
        "class": "Standard",
        "clientApplication": "JDBC Thin Client",
        "command": "SELECT",
        "commandText": text,
        "dbid": "0246813579",
        "databaseName": "SHOP",
        "dbProtocol": "oracle",
        "dbUserName": "DAVIDE",
        "endTime": None,
        "errorMessage": None,
        "exitCode": 0,
        "logTime": "2026-11-23 07:28:04.940668",
        "netProtocol": "tcp",
        "objectName": "ORDERS",
        "objectType": "SALES",
        "paramList": [],
        "pid": 5150,
        "remoteHost": "10.0.3.7",
        "remotePort": "40112",
        "rowCount": None,
        "serverHost": "10.0.12.39",
        "serverType": "oracle",
        "serverVersion": "19.0.0.0.ru-2023-01.rur-2023-01.r1.EE.3",
        "serviceName": "oracle-ee",
        "sessionId": 3344556677,
        "startTime": None,
        "statementId": 12,
        "substatementId": None,
        "transactionId": "0A00110080FF0000",
        "engineNativeAuditFields": {"SYSTEM_PRIVILEGE_USED": None, "ENTRY_ID": 4, "SCN": 8133083},
    } | members


def sqlserver(text: str | None = "select * from [sales].[orders]", **members: Any) -> dict:
    """An entry as RDS for SQL Server 1.4 writes it."""
    return {
        "class": "TABLE",
        "clientApplication": "sqlcmd",
        "command": "SELECT",
        "commandText": text,
        "databaseName": "shop",
        "dbProtocol": "SQLSERVER",
        "dbUserName": "davide",
        "endTime": None,
        "errorMessage": None,
        "exitCode": 1,
        "logTime": "2026-11-23 07:28:04.9406689+00",
        "netProtocol": None,
        "objectName": "orders",
        "objectType": "TABLE",
        "paramList": None,
        "pid": None,
        "remoteHost": "10.0.3.7",
        "remotePort": None,
        "rowCount": 0,
        "serverHost": "10.0.12.39",
        "serverType": "SQLSERVER",
        "serverVersion": "15.00.4073.23.v1.R1",
        "serviceName": "sqlserver-ee",
        "sessionId": 71,
        "startTime": None,
        "statementId": "0x0123456789abcdef0123456789abcdef",
        "substatementId": 1,
        "transactionId": "815015",
        "type": "record",
        "engineNativeAuditFields": {"schema_name": "sales", "object_id": 99, "host_name": "CLIENT"},
    } | members


BY_ENGINE = {
    "aurora-postgresql": postgresql,
    "postgresql": postgresql,
    "aurora-mysql": mysql,
    "oracle": oracle,
    "sqlserver": sqlserver,
}
