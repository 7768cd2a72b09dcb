; SPDX-License-Identifier: Apache-2.0 OR MIT
; One ending each, by the name given with -D: TRIPLE_FAULT, HALT (interrupts off), IDLE (halts with interrupts on, for ever), SPIN,
; POWER_BUTTON (waits for PM1_STS.PWRBTN_STS, then soft off), RESET_CF9, RESET_KBC, RESET_92. The resets tell by a byte of CMOS memory
; whether they have been there: after a reset that worked they say so and end by soft off.
%include "pc.inc"
CMOS_MARK equ 0x7D                      ; no firmware uses it

        boot_sector
%ifdef TRIPLE_FAULT
        say     "ending: triple fault", 13, 10
        cli
        lgdt    [none]
        lidt    [none]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        mov     ax, 8                   ; no descriptor: #GP, for which there is no gate, nor for the double fault
        mov     ds, ax
none:   dw      0
        dd      0
%elifdef HALT
        say     "ending: halt with interrupts off", 13, 10
        cli
        hlt
        say     "woke up", 13, 10
        jmp     power_off
%elifdef IDLE
        say     "ending: idle", 13, 10
.idle:  hlt
        jmp     .idle
%elifdef SPIN
        say     "ending: spin", 13, 10
        jmp     $
%elifdef POWER_BUTTON
        mov     dx, PCI_ADDRESS
        mov     eax, PIIX4_PM | PMBASE
        out     dx, eax
        mov     dl, PCI_DATA & 0xFF
        in      ax, dx
        and     ax, 0xFFC0
        xchg    ax, dx                  ; PM1_STS
        in      al, 0xA1
        or      al, 2                   ; the SCI (IRQ 9) stays masked: polled here
        out     0xA1, al
        inc     dx
        inc     dx
        in      ax, dx                  ; PM1_EN
        or      ah, 1                   ; PWRBTN_EN
        out     dx, ax
        dec     dx
        dec     dx
        say     "ending: waiting for the power button", 13, 10
.wait:  hlt                             ; until the next timer tick
        in      ax, dx
        test    ah, 1                   ; PWRBTN_STS
        jz      .wait
        say     "power button", 13, 10
        jmp     power_off
%else
        mov     al, CMOS_MARK
        out     0x70, al
        in      al, 0x71
        cmp     al, 0xA5
        je      again
        mov     al, CMOS_MARK
        out     0x70, al
        mov     al, 0xA5
        out     0x71, al
        say     "ending: reset", 13, 10
        cli
%ifdef RESET_CF9
        mov     dx, 0xCF9
        mov     al, 2                   ; a hard reset, which the next write starts
        out     dx, al
        mov     al, 6
        out     dx, al
%elifdef RESET_KBC
.busy:  in      al, 0x64
        test    al, 2                   ; input buffer full
        jnz     .busy
        mov     al, 0xFE                ; pulse output bit 0
        out     0x64, al
%elifdef RESET_92
        in      al, 0x92
        and     al, 0xFE
        out     0x92, al
        or      al, 1                   ; INIT_NOW: on a rising edge
        out     0x92, al
%else
        %error "which ending?"
%endif
        hlt
        jmp     $ - 1
again:  mov     al, CMOS_MARK
        out     0x70, al
        mov     al, 0
        out     0x71, al
        say     "reset worked", 13, 10
        jmp     power_off
%endif
        pc_routines
        boot_signature 0
