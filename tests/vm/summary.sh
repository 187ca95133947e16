# shellcheck shell=bash
# What the guest said: results on its first disk, the kernel's complaints on the console.
# Part of tests/vm/run.

complaints='WARNING: |BUG: |Kernel panic|Oops: |Internal error|general protection fault'
complaints+='|UBSAN: |possible circular locking|task .* blocked for more than|detected stall'

failures=()

# Lines of the kernel's, told by their time, since the tests began. Those before are the
# kernel's own affair, and are shown only.
kernel_lines() {
    local from='1,/extmap-vm: .* begins/'
    if [[ "$1" == boot ]]; then
        sed -n "${from}p" "$work/console"
    else
        sed "${from}d" "$work/console"
    fi | grep -aE '\[ *[0-9]+\.[0-9]{6}\]' | grep -aE "$complaints" || true
}

# Sums a word of the lines "test result: ok. 3 passed; 0 failed; 1 ignored; ...".
count_in() {
    awk -v word="$2" '/^test result:/ {
        for (at = 2; at <= NF; at++) if (index($at, word) == 1) sum += $(at - 1)
    } END { print sum + 0 }' "$1"
}

# Adds one step to $passed and $failed.
judge_step() {
    local name="$1" log="$work/results/$1.log" code is_test="$2"
    if [[ ! -e "$work/results/$name.code" ]]; then
        failures+=("$name did not end ($outcome)")
        failed=$((failed + 1))
        return
    fi
    code="$(<"$work/results/$name.code")"
    if [[ "$is_test" == yes ]]; then
        passed=$((passed + $(count_in "$log" passed)))
        failed=$((failed + $(count_in "$log" failed)))
        ignored=$((ignored + $(count_in "$log" ignored)))
        while read -r line; do
            failures+=("$name: $line")
        done < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
        # It died, or its time was over: there is no count of what failed.
        if [[ "$code" != 0 && "$(count_in "$log" failed)" == 0 ]]; then
            failures+=("$name ended with code $code")
            failed=$((failed + 1))
        fi
    elif [[ "$code" == 0 ]]; then
        passed=$((passed + 1))
    else
        failures+=("$name ended with code $code")
        failed=$((failed + 1))
    fi
}

# Targets of the benchmark (exit code 1) are for machines, not for guests.
show_bench() {
    local threads name
    for threads in 1 2; do
        name="bench_$threads"
        if [[ "$(cat "$work/results/$name.code" 2>/dev/null)" == 1 ]]; then
            echo 0 >"$work/results/$name.code"
        fi
        judge_step "$name" no
        echo
        echo "benchmark, threads=$threads"
        grep -a '^|' "$work/results/$name.log" 2>/dev/null || true
    done
}

# What of iomap the kernel has, and what the server says of it.
iomap_words() {
    local parameters status
    parameters="$(paste -sd, "$work/results/parameters" 2>/dev/null || true)"
    status="$(cat "$work/results/status" 2>/dev/null | tr ',{}' '\n\n\n' |
        grep -ai iomap | tr -d '"' | paste -sd, || true)"
    echo "kernel: ${parameters:-no parameter of that name}; extmap status: ${status:-does not name it}"
}

show_failures() {
    local name
    for name in "${programs[@]}" block_device; do
        if [[ "$(cat "$work/results/$name.code" 2>/dev/null || echo 1)" != 0 ]]; then
            echo
            echo "$name, the end of its output:"
            tail -n 60 "$work/results/$name.log" 2>/dev/null || tail -n 60 "$work/console"
        fi
    done
}

summarise() {
    local name line recorded passed=0 failed=0 ignored=0 skipped
    tar -C "$work/results" --no-same-owner -xf "$work/out.img" 2>/dev/null || true
    judge_step block_device no
    for name in "${programs[@]}"; do
        judge_step "$name" yes
    done
    if [[ "$bench" == 1 ]]; then
        show_bench
    fi
    show_failures
    while read -r line; do
        failures+=("kernel: $line")
        failed=$((failed + 1))
    done < <(kernel_lines tests)
    if [[ "$outcome" != ended ]] || ! grep -aq 'extmap-vm: powering off' "$work/console"; then
        failures+=("the guest did not come to its end ($outcome)")
        failed=$((failed + 1))
        echo
        tail -n 40 "$work/console"
    fi
    # A test may record several reasons; it is one skipped test.
    touch "$work/results/skipped"
    recorded="$(sed 's/: .*//' "$work/results/skipped" | sort -u | wc -l)"
    skipped=$((recorded + ignored))
    passed=$((passed - recorded))
    echo
    kernel_lines boot | sed 's/^/kernel, while booting: /'
    sed 's/^/skipped: /' "$work/results/skipped"
    if [[ ${#failures[@]} -gt 0 ]]; then
        printf 'failed: %s\n' "${failures[@]}"
    fi
    echo "kernel $(cat "$work/results/version" 2>/dev/null || echo "$version"), $accel, $1 seconds"
    echo "iomap: $(iomap_words)"
    echo "$passed passed, $failed failed, $skipped skipped"
    [[ "$failed" == 0 ]]
}
