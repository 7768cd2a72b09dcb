# SPDX-License-Identifier: Apache-2.0 OR MIT
<#
.SYNOPSIS
Proves vpc.exe's WHP back end on a real Windows host.
.DESCRIPTION
Runs vpc.exe on this host's hypervisor with guests that report what they find, and says for each check whether it passed. Nothing is
installed or changed. Exit code: the number of checks that failed.
.PARAMETER Vpc
The program (scripts/windows build makes it on Linux).
.PARAMETER Guests
The folder that `scripts/guests tiny` names on Linux, copied here.
.PARAMETER Firmware
The folder with SeaBIOS' bios-256k.bin and vgabios-isavga.bin.
.EXAMPLE
powershell -ExecutionPolicy Bypass -File whp-check.ps1 -Vpc .\vpc.exe -Guests .\guests -Firmware .\seabios
#>
param(
    [Parameter(Mandatory)] [string] $Vpc,
    [Parameter(Mandatory)] [string] $Guests,
    [Parameter(Mandatory)] [string] $Firmware,
    [int] $Seconds = 120
)
$ErrorActionPreference = 'Stop'
$failed = 0
$work = Join-Path ([IO.Path]::GetTempPath()) "vpc-check-$PID"
New-Item -ItemType Directory $work | Out-Null

# Runs vpc.exe with a time limit; gives its exit code and what it printed.
function Invoke-Vpc([string[]] $Arguments) {
    $out = Join-Path $work 'out.txt'; $err = Join-Path $work 'err.txt'
    $quoted = $Arguments | ForEach-Object { '"' + $_ + '"' }
    $process = Start-Process -FilePath $Vpc -ArgumentList $quoted -PassThru -NoNewWindow -RedirectStandardOutput $out -RedirectStandardError $err
    $null = $process.Handle
    if (-not $process.WaitForExit($Seconds * 1000)) { $process.Kill(); return @{ Code = -1; Text = "no end within $Seconds s" } }
    @{ Code = $process.ExitCode; Text = (Get-Content -Raw $out) + (Get-Content -Raw $err) }
}

function Test-Vpc([string] $Name, [string[]] $Arguments, [int] $Code, [string] $Says) {
    $watch = [Diagnostics.Stopwatch]::StartNew()
    $done = Invoke-Vpc $Arguments
    $ok = $done.Code -eq $Code -and $done.Text -match $Says
    '{0,-44} {1,-6} {2,7:N1} s' -f $Name, $(if ($ok) { 'ok' } else { 'FAILED' }), $watch.Elapsed.TotalSeconds
    if (-not $ok) { $script:failed++; "  exit code $($done.Code), wanted $Code; output:"; $done.Text }
}

$machine = @('run', '--firmware', (Join-Path $Firmware 'bios-256k.bin'), '--vga-bios', (Join-Path $Firmware 'vgabios-isavga.bin'),
    '--debug-console', 'stdio', '--memory', '64M', '--no-reboot')
$disk = Join-Path $Guests 'disksum.img'
$sum = { param($file) (Get-Content "$file.sum" -TotalCount 1).Trim() }
$base = Join-Path $work 'base.vhd'; $child = Join-Path $work 'child.vhd'

[Environment]::OSVersion.VersionString
Test-Vpc 'the hypervisor is there' @('host') 0 'machines can run\s+yes'
Test-Vpc 'boot sector from a diskette, power off' ($machine + @('--fda', (Join-Path $Guests 'hello.img'))) 0 'hello from the boot sector'
Test-Vpc 'DVD' ($machine + @('--boot', 'd', '--dvd', (Join-Path $Guests 'dvdsum.iso'))) 0 "dvdsum $(& $sum (Join-Path $Guests 'dvdsum.iso')) ok"
Test-Vpc 'a dynamic VHD is made' @('disk', 'convert', '--to', 'dynamic', $disk, $base) 0 ''
Test-Vpc 'a differencing VHD is made' @('disk', 'create', '--type', 'differencing', '--parent', $base, $child) 0 ''
Test-Vpc 'IDE disk on a differencing chain' ($machine + @('--boot', 'c', '--hda', $child)) 0 "disksum $(& $sum $disk) ok"
Test-Vpc 'the chain is sound' @('disk', 'check', $child) 0 'no damage'
Test-Vpc 'reset by port CF9h' ($machine + @('--fda', (Join-Path $Guests 'ending-reset-cf9.img'))) 20 ''
Test-Vpc 'reset by the keyboard controller' ($machine + @('--fda', (Join-Path $Guests 'ending-reset-kbc.img'))) 20 ''
Test-Vpc 'triple fault' ($machine + @('--fda', (Join-Path $Guests 'ending-triple-fault.img'))) 21 'triple fault'
Test-Vpc 'eight processors' ($machine + @('--cpus', '8', '--fda', (Join-Path $Guests 'hello.img'))) 0 'hello from the boot sector'

Remove-Item -Recurse -Force $work
"$failed failed"
exit $failed
