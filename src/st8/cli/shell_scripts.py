"""The scripts that make a shell ask ``st8ctl`` what may stand at the cursor.

Names come from the daemon, so a script never evaluates one: bash reads them line by
line, in the quotation that ``st8ctl`` gave them; zsh and fish quote for themselves.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPTS"]

_BASH: Final = r"""# Completion of st8ctl for bash; source it.
_st8ctl() {
    local kind="" value
    COMPREPLY=()
    {
        IFS= read -r kind
        while IFS= read -r value; do
            COMPREPLY+=("$value")
        done
    } < <("${1/#\~/$HOME}" __complete bash "$COMP_WORDBREAKS" \
        "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null)
    case $kind in
        files) compopt -o default 2>/dev/null ;;
        dirs) compopt -o dirnames 2>/dev/null ;;
    esac
}
complete -F _st8ctl st8ctl
"""

_ZSH: Final = r"""#compdef st8ctl
# Completion of st8ctl for zsh; source it after compinit, or put it into $fpath.
_st8ctl() {
    local -a lines values shown
    local line
    lines=("${(@f)$("${(Q)words[1]}" __complete zsh "${(@Q)words[2,CURRENT-1]}" \
        "${(Q)PREFIX}" 2>/dev/null)}")
    case ${lines[1]} in
        files) _files; return ;;
        dirs) _files -/; return ;;
    esac
    for line in "${(@)lines[2,-1]}"; do
        [[ -n $line ]] || continue
        values+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
    done
    (( ${#values} )) && compadd -l -d shown -a values
}
if [[ ${funcstack[1]} == _st8ctl ]]; then
    _st8ctl "$@"
else
    compdef _st8ctl st8ctl
fi
"""

_FISH: Final = r"""# Completion of st8ctl for fish.
function __st8ctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete fish $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case dirs
            __fish_complete_directories "$current"
        case '*'
            if set -q lines[2]
                printf '%s\n' $lines[2..-1]
            end
    end
end
complete -c st8ctl -f -a '(__st8ctl_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""The script of each shell that there is one for."""
