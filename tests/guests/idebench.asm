; SPDX-License-Identifier: Apache-2.0 OR MIT
; Reads as many MiB as the parameter at 1F0h says from the primary master, the same first 4 MiB again and again: READ MULTIPLE of 16
; sectors a block by rep insw, or with DMA defined READ DMA EXT of DMA sectors a command by the PIIX bus master, with the interrupt; its
; table names two 64 KiB regions in turn. With DVD defined as well it is READ (10) of DMA sectors of the disc in the secondary master. A
; disk's boot sector that brings the sectors after it. Prints the checksum (floppysum.asm says which) of the first command's data, 64 KiB
; of it at most, and a mark before and after.
%include "pc.inc"
%ifdef DVD
IDE             equ 0x170
CONTROL         equ 0x376
IRQ             equ 15
CHANNEL         equ 8                   ; of the bus master
SECTOR          equ 2048
%else
IDE             equ 0x1F0
CONTROL         equ 0x3F6
IRQ             equ 14
CHANNEL         equ 0
SECTOR          equ 512
%endif
BUFFER          equ 0x1000              ; segment
PIIX_IDE        equ 0x80000900          ; 00:01.1
BMIBA           equ 0x20
PRD_TABLE       equ 0x6000
COMMAND_PORT    equ 4                   ; PCI command register: I/O, bus master
BSY             equ 0x80
DRDY            equ 0x40
DF              equ 0x20
DRQ             equ 0x08
ERR             equ 0x01
LOADED          equ 4                   ; sectors behind the boot sector
PART            equ 4 << 20             ; what is read again and again
%ifdef DMA
%define NAME "idebench dma "
CHUNK           equ DMA                 ; sectors a command: up to 64 KiB, or a multiple of 128 KiB
%else
%define NAME "idebench pio "
CHUNK           equ 128
BLOCK           equ 16                  ; sectors a DRQ block
%endif

        boot_sector
        mov     ax, 0x0200 + LOADED
        mov     bx, 0x7E00
        mov     cx, 2
        mov     dh, 0
        mov     dl, [drive]
        int     0x13
        jnc     main
        say     NAME, "failed: boot", 13, 10
        jmp     power_off
        pc_routines
        boot_signature 64

main:   call    setup
        call    transfer
        call    checksum
        say     NAME, "start", 13, 10
        mov     ebp, [parameter]
        imul    ebp, (1 << 20) / SECTOR ; MiB to sectors
.next:  call    transfer
        sub     ebp, CHUNK
        ja      .next
        say     NAME, "end", 13, 10
        jmp     power_off

failed: push    ax
        say     NAME, "failed: status: "
        xor     eax, eax
        pop     ax
        call    put_hex
        say     13, 10
        jmp     power_off

checksum:
        push    ds
        push    BUFFER
        pop     ds
        xor     si, si
        xor     ebx, ebx
%if CHUNK * SECTOR < 65536
        mov     cx, CHUNK * SECTOR / 4
%else
        mov     cx, 16384
%endif
.add:   lodsd
        rol     ebx, 1
        add     ebx, eax
        loop    .add
        pop     ds
        say     NAME, "sum "
        mov     eax, ebx
        call    put_hex
        say     13, 10
        ret

; Waits for BSY to go; AL: status. An error ends the guest.
ready:  mov     dx, CONTROL
        in      al, dx                  ; the 400 ns
        mov     dx, IDE + 7
.busy:  in      al, dx
        test    al, BSY
        jnz     .busy
        test    al, DF | ERR
        jnz     failed
        ret

%ifdef DVD
; READ (10) of CHUNK sectors at [lba], which moves on, by DMA.
command:
        mov     eax, [lba]
        bswap   eax
        mov     [read10 + 2], eax
        mov     eax, [lba]
        add     eax, CHUNK
        and     eax, PART / SECTOR - 1
        mov     [lba], eax
        mov     si, read10
        mov     bl, 1                   ; features: DMA
; The packet at SI, with the features in BL.
packet: mov     dx, IDE + 6
        mov     al, 0xA0
        out     dx, al
        call    settled
        mov     dx, IDE + 1
        mov     al, bl
        out     dx, al
        mov     dx, IDE + 4
        xor     al, al                  ; byte count
        out     dx, al
        inc     dx
        out     dx, al
        mov     dx, IDE + 7
        mov     al, 0xA0
        out     dx, al
        call    settled
        mov     dx, IDE
        mov     cx, 6
        rep     outsw
        ret
settled:
        mov     dx, CONTROL
        in      al, dx
        mov     dx, IDE + 7
.busy:  in      al, dx
        test    al, BSY
        jnz     .busy
        ret
read10: db      0x28, 0, 0, 0, 0, 0, 0, CHUNK >> 8, CHUNK & 0xFF, 0, 0, 0
ready10:
        times   12 db 0                 ; TEST UNIT READY
lba:    dd      0
%else
; The task file for CHUNK sectors at [lba], which moves on, and the command in AH.
command:
        mov     dx, IDE + 6
        mov     al, 0xE0                ; LBA, master
        out     dx, al
        call    ready
        mov     dx, IDE + 2
%ifdef DMA
        mov     al, CHUNK >> 8          ; the high bytes come first; the address has none
        out     dx, al
        xor     al, al
        inc     dx
        out     dx, al
        inc     dx
        out     dx, al
        inc     dx
        out     dx, al
        mov     dl, (IDE + 2) & 0xFF
%endif
        mov     al, CHUNK & 0xFF
        out     dx, al
        mov     ecx, [lba]
        mov     bl, 3
.lba:   inc     dx
        mov     al, cl
        out     dx, al
        shr     ecx, 8
        dec     bl
        jnz     .lba
        mov     dx, IDE + 7
        mov     al, ah
        out     dx, al
        mov     ecx, [lba]
        add     ecx, CHUNK
        and     ecx, PART / SECTOR - 1
        mov     [lba], ecx
        ret
lba:    dd      0
%endif

%ifdef DMA
setup:  mov     dx, PCI_ADDRESS
        mov     eax, PIIX_IDE | COMMAND_PORT
        out     dx, eax
        mov     dl, PCI_DATA & 0xFF
        in      ax, dx
        or      al, 5                   ; I/O space, bus master
        out     dx, ax
        mov     dl, PCI_ADDRESS & 0xFF
        mov     eax, PIIX_IDE | BMIBA
        out     dx, eax
        mov     dl, PCI_DATA & 0xFF
        in      ax, dx
        and     al, 0xF0
        add     ax, CHANNEL
        mov     [bus_master], ax
        mov     di, PRD_TABLE
%if CHUNK * SECTOR <= 65536
        mov     eax, BUFFER << 4
        stosd
        mov     eax, (CHUNK * SECTOR & 0xFFFF) | 0x80000000
        stosd
%else
        mov     cx, CHUNK * SECTOR / 131072
.table: mov     eax, BUFFER << 4
        stosd
        xor     eax, eax                ; 64 KiB
        stosd
        mov     eax, (BUFFER << 4) + 0x10000
        stosd
        xor     eax, eax
        stosd
        loop    .table
        mov     byte [di - 1], 0x80     ; end of table
%endif
%ifdef DVD
        mov     dx, CONTROL
        mov     al, 2                   ; nIEN
        out     dx, al
        mov     bp, 4
.due:   mov     si, ready10             ; what is due after power-on comes first
        mov     bl, 0
        call    packet
        call    settled
        dec     bp
        jnz     .due
%endif
        cli
        mov     word [(0x68 + IRQ) * 4], interrupt
        mov     word [(0x68 + IRQ) * 4 + 2], 0
        sti
        in      al, 0xA1
        and     al, ~(1 << (IRQ - 8)) & 0xFF
        out     0xA1, al
        in      al, 0x21
        and     al, 0xFB
        out     0x21, al
        mov     dx, CONTROL
        mov     al, 0                   ; nIEN off
        out     dx, al
        ret

transfer:
        mov     byte [done], 0
        mov     dx, [bus_master]
        add     dx, 4
        mov     eax, PRD_TABLE
        out     dx, eax
        sub     dx, 2
        mov     al, 0x66                ; status: clear interrupt and error, both drives can DMA
        out     dx, al
        mov     ah, 0x25                ; READ DMA EXT
        call    command
        mov     dx, [bus_master]
        mov     al, 9                   ; start, to memory
        out     dx, al
.wait:  cli
        cmp     byte [done], 0
        jne     .end
        sti
        hlt
        jmp     .wait
.end:   sti
        mov     dx, [bus_master]
        mov     al, 0
        out     dx, al
        mov     al, [status]
        test    al, DF | DRQ | ERR
        jnz     failed
        ret

interrupt:
        push    ax
        push    dx
        mov     dx, IDE + 7
        in      al, dx
        mov     [status], al
        mov     dx, [bus_master]
        add     dx, 2
        mov     al, 0x64
        out     dx, al
        mov     al, 0x20
        out     0xA0, al
        out     0x20, al
        mov     byte [done], 1
        pop     dx
        pop     ax
        iret
bus_master: dw  0
done:   db      0
status: db      0
%else
setup:  mov     dx, CONTROL
        mov     al, 2                   ; nIEN
        out     dx, al
        mov     dx, IDE + 2
        mov     al, BLOCK
        out     dx, al
        mov     dx, IDE + 7
        mov     al, 0xC6                ; SET MULTIPLE MODE
        out     dx, al
        jmp     ready

transfer:
        mov     ah, 0xC4                ; READ MULTIPLE
        call    command
        push    es
        push    BUFFER
        pop     es
        xor     di, di
        mov     bl, CHUNK / BLOCK
.block:
        call    ready
        test    al, DRQ
        jz      failed
        mov     dx, IDE
        mov     cx, 256 * BLOCK
        rep     insw
        dec     bl
        jnz     .block
        pop     es
        ret
%endif
        times   512 * (LOADED + 1) - ($ - $$) db 0
