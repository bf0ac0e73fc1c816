"""`schema`: tell editors what a work file may hold."""

import click

from parallel_workers.cli.console import show


@click.command(short_help="Print the JSON Schema of the work file.")
def command() -> None:
    """Print the JSON Schema of the work file, by which editors complete and check one.

    \b
    Save it:  parallel-workers schema > work.schema.json
    and name it in the first line of work.yaml or work.toml:
      # yaml-language-server: $schema=work.schema.json
      #:schema ./work.schema.json
    """
    import json

    from parallel_workers.schema import work_file_schema

    show(json.dumps(work_file_schema(), indent=2))
