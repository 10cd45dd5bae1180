"""Reading lines of the embedded metric format as CloudWatch does."""


def directive(line):
    (only,) = line["_aws"]["CloudWatchMetrics"]
    return only


def dimensions(line):
    """The values of a line's dimensions; CloudWatch takes no empty one."""
    (names,) = directive(line)["Dimensions"]
    assert all(line[name] for name in names)
    return [line[name] for name in names]


def values(line):
    """The values of a line's metrics, of which every one is a number."""
    return {metric["Name"]: 0 + line[metric["Name"]] for metric in directive(line)["Metrics"]}
