/// Scripts by which shells complete this program's commands. Each asks the program itself, so that they know what it knows.
module K8sReq.Host.Commands.Completion

open K8sReq.Core

let private bash =
    """# bash completion for k8sreq
_k8sreq() {
    local IFS=$'\n'
    local word="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "$word"))
}
complete -o default -F _k8sreq k8sreq
"""

let private zsh =
    """#compdef k8sreq
_k8sreq() {
    local -a words_found
    words_found=("${(@f)$("${words[1]}" "[suggest:${#BUFFER}]" "${BUFFER}" 2>/dev/null)}")
    compadd -- $words_found
    _files
}
compdef _k8sreq k8sreq
"""

let private fish =
    """# fish completion for k8sreq
complete -c k8sreq -a '(k8sreq "[suggest:"(commandline -C)"]" (commandline -c) 2>/dev/null)'
"""

let private powerShell =
    """# PowerShell completion for k8sreq
Register-ArgumentCompleter -Native -CommandName k8sreq -ScriptBlock {
    param($word, $line, $position)
    k8sreq "[suggest:$position]" "$line" | Where-Object { $_ -like "$word*" } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
"""

let script (shell: Shell) : string =
    match shell with
    | Shell.Bash -> bash
    | Shell.Zsh -> zsh
    | Shell.Fish -> fish
    | Shell.PowerShell -> powerShell
