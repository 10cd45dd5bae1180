"""Tables of checkpoints on the local endpoint, made with the command that the hint gives."""

import shlex


def make_table(dynamodb, hint):
    """Create the table as the `aws` command line would that a hint shows; its name."""
    words = shlex.split(hint.partition("aws dynamodb create-table ")[2])
    options = dict(zip(words[::2], words[1::2], strict=True))
    dynamodb.create_table(
        TableName=options["--table-name"],
        AttributeDefinitions=[_members(options["--attribute-definitions"])],
        KeySchema=[_members(options["--key-schema"])],
        BillingMode=options["--billing-mode"],
    )
    return options["--table-name"]


def _members(shorthand):
    return dict(pair.split("=") for pair in shorthand.split(","))
