"""torchmigrate doctor."""

from __future__ import annotations

import click

from ...base.errors import EXIT_OK
from .options import JSON, NO_PLUGINS


@click.command()
@NO_PLUGINS
@JSON
def doctor(as_json: bool) -> int:
    """Show versions, devices, backends and an old Torch7, to be pasted into a report.

    \b
    torchmigrate doctor
    torchmigrate doctor --json
    """
    from ..checkup import examine
    from ..printing import terminal as console
    from ..printing.diagnoses import show_diagnosis

    with console.progress(silent=as_json) as step:
        step("looking at this machine")
        found = examine()
    if as_json:
        console.print_json(found.to_json())
    else:
        show_diagnosis(found)
    return EXIT_OK
