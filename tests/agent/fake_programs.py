"""Stand-ins for the system's programs: small shell scripts that keep their state in a folder and log every call.

They behave as the real ones do where it hurts: `launchctl bootout` returns before the job is gone, `bootstrap` refuses
while it is still there, `systemctl reenable` moves the link to the target the file names now.
"""

from pathlib import Path

LAUNCHCTL = """
state="${0%/bin/*}"
echo "$*" >> "$state/calls"
case "$1" in
bootout)
  [ -f "$state/loaded" ] || { echo "Boot-out failed: 3: No such process" >&2; exit 3; }
  cat "$state/slowness" > "$state/leaving" 2>/dev/null || echo 3 > "$state/leaving" ;;
print)
  if [ -f "$state/leaving" ]; then
    left=$(cat "$state/leaving")
    if [ "$left" -le 0 ]; then rm -f "$state/leaving" "$state/loaded"; else echo $((left - 1)) > "$state/leaving"; fi
  fi
  [ -f "$state/loaded" ] || { echo 'Could not find service "x" in domain for user gui: 501' >&2; exit 113; }
  printf '%s = {\\n\\tactive count = 1\\n\\tstate = running\\n\\n\\tprogram = /x\\n\\tpid = 4711\\n}\\n' "$2" ;;
bootstrap)
  if [ -f "$state/loaded" ] || [ -f "$state/refuse" ]; then
    rm -f "$state/refuse"; echo "Bootstrap failed: 5: Input/output error" >&2; exit 5
  fi
  cp "$3" "$state/loaded" ;;
enable) ;;
*) echo "Unrecognized subcommand: $1" >&2; exit 64 ;;
esac
"""

SYSTEMCTL = """
state="${0%/bin/*}"
units="$XDG_CONFIG_HOME/systemd/user"
echo "$*" >> "$state/calls"
[ -f "$state/no-bus" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
[ "$1" = --user ] || exit 64
shift
case "$1" in
is-active) [ -f "$state/desktop" ] && echo active || { echo inactive; exit 3; } ;;
daemon-reload) ls "$units" > "$state/known" 2>/dev/null || : > "$state/known" ;;
reenable)
  grep -qx "$2" "$state/known" || { echo "Unit file $2 does not exist." >&2; exit 1; }
  rm -f "$units"/*.wants/"$2"
  target=$(sed -n 's/^WantedBy=//p' "$units/$2")
  mkdir -p "$units/$target.wants" && ln -s "$units/$2" "$units/$target.wants/$2" ;;
restart) cp "$units/$2" "$state/running" ;;
disable)
  [ -f "$units/$3" ] || { echo "Unit file $3 does not exist." >&2; exit 1; }
  rm -f "$units"/*.wants/"$3" "$state/running" ;;
show)
  if [ -f "$state/running" ]; then
    printf 'MainPID=4711\\nActiveState=active\\nSubState=running\\nUnitFileState=enabled\\n'
  else
    printf 'MainPID=0\\nActiveState=inactive\\nSubState=dead\\nUnitFileState=\\n'
  fi ;;
reset-failed) exit 1 ;;
*) echo "Unknown command verb $1." >&2; exit 1 ;;
esac
"""

SCHTASKS = """
state="${0%/bin/*}"
echo "$*" >> "$state/calls"
task="$state/task"
missing() { echo "FEHLER: Das System kann die angegebene Datei nicht finden." >&2; exit 1; }
case "$1" in
/Create) [ -f "$state/forbidden" ] && { echo "ERROR: Access is denied." >&2; exit 1; }
  [ -f "$task" ] && [ "$6" != /F ] && exit 1
  cp "$5" "$task" ;;
/Run) [ -f "$task" ] || missing; : > "$state/running" ;;
/End) [ -f "$state/running" ] || missing; rm "$state/running" ;;
/Delete) [ -f "$task" ] || missing; rm "$task" ;;
/Query) [ -f "$task" ] || missing; cat "$task" ;;
*) exit 1 ;;
esac
"""


def put(folder: Path, name: str, script: str) -> Path:
    """Make `folder/bin/name` executable; its state is in `folder`."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    return program


def calls(folder: Path) -> list[str]:
    """All calls so far."""
    log = folder / "calls"
    return log.read_text("utf-8").splitlines() if log.exists() else []
