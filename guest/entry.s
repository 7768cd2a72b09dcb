// SPDX-License-Identifier: Apache-2.0 OR MIT
// From PVH's entry point (32-bit protected mode, paging off, EBX = hvm_start_info) to the Rust function `main` in ring 3.
//
// What is left in ring 0 is only what must be there: interrupt handlers, ports, HLT. So a KVM that emulates ring 0 in software runs
// everything else at full speed, and compiled code may use any instruction.

        .section .note.Xen, "a", @note
        .long 4, 8, 18                  // XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .quad pvh_entry

        .section .tables, "aw"
        .balign 4096
// 4 GiB as they are, in pages of 2 MiB that ring 3 may use. Devices are in the last GiB: not cached.
level4: .quad pointers + 7
        .fill 511, 8, 0
pointers:
        .quad directories + 7, directories + 0x1007, directories + 0x2007, directories + 0x3007
        .fill 508, 8, 0
directories:
        .set page, 0
        .rept 1536
        .quad page + 0x87
        .set page, page + 0x200000
        .endr
        .rept 512
        .quad page + 0x9F
        .set page, page + 0x200000
        .endr

gdt:    .quad 0
        .quad 0x00AF9B000000FFFF        // 08h: ring 0, 64-bit code
        .quad 0x00CF93000000FFFF        // 10h: ring 0, data
        .quad 0x00CFF3000000FFFF        // 18h: ring 3, data
        .quad 0x00AFFB000000FFFF        // 20h: ring 3, 64-bit code
task_descriptor:
        .quad 0x0000890000000067        // 28h: task state; its base comes later
        .quad 0
gdt_pointer:
        .word . - gdt - 1
        .quad gdt
idt_pointer:
        .word 0x80 * 16 - 1
        .quad idt
        .balign 16
task:   .long 0
        .quad kernel_stack_top          // the stack of interrupts that come in ring 3
        .fill 92, 1, 0

        .section .bss.entry, "aw", @nobits
        .balign 4096
idt:    .skip 0x80 * 16
        .skip 16384
kernel_stack_top:
        .skip 65536
user_stack_top:
        .globl events, interrupt_time, interrupt_counts
events: .skip 8                         // interrupts so far
interrupt_time:
        .skip 8                         // the time stamp counter in the last one's handler
interrupt_counts:
        .skip 0x80 * 8                  // by vector

        .section .text.entry, "ax"
        .code32
        .globl pvh_entry
pvh_entry:
        cld
        mov eax, cr4
        or eax, 0x620                   // PAE, OSFXSR, OSXMMEXCPT
        mov cr4, eax
        mov eax, offset level4
        mov cr3, eax
        mov ecx, 0xC0000080             // EFER
        rdmsr
        or eax, 0x100                   // LME
        wrmsr
        mov eax, cr0
        and eax, ~0xC                   // EM, TS
        or eax, 0x80000003              // PG, MP, PE
        mov cr0, eax
        lgdt [gdt_pointer]
        ljmp 8, offset long_mode

        .code64
long_mode:
        mov eax, 16
        mov ss, eax
        mov ds, eax
        mov es, eax
        mov rsp, offset kernel_stack_top
        mov al, 0xFF                    // no interrupts from the PICs
        out 0x21, al
        out 0xA1, al

// Gates: the handlers stand 16 bytes apart.
        mov edi, offset idt
        mov edx, offset handlers
        mov ecx, 0x80
gates:  mov [rdi], dx
        mov word ptr [rdi + 2], 8
        mov word ptr [rdi + 4], 0x8E00
        mov eax, edx
        shr eax, 16
        mov [rdi + 6], ax
        add edi, 16
        add edx, 16
        dec ecx
        jnz gates
        mov byte ptr [idt + 3 * 16 + 5], 0xEE // INT3 is for ring 3, too
        lidt [idt_pointer]
        mov eax, offset task
        mov [task_descriptor + 2], ax
        shr eax, 16
        mov [task_descriptor + 4], al
        mov [task_descriptor + 7], ah
        mov eax, 0x28
        ltr ax
        mov edi, ebx
        push 0x1B
        push offset user_stack_top - 8
        push 2                          // no interrupts
        push 0x23
        push offset main
        iretq

// One entry a vector, 16 bytes apart. Those that the processor gives an error code for have one pushed, the others get a zero.
        .balign 16
handlers:
        .set vector, 0
        .rept 0x80
        .balign 16
        .if vector == 3
        jmp r8
        .else
        .if (vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21)
        .else
        push 0
        .endif
        push vector
        .if vector < 32
        jmp exception
        .else
        jmp interrupt
        .endif
        .endif
        .set vector, vector + 1
        .endr

// Calls of ring 3 (`cpu.rs`): INT3 with the routine in R8. (KVM that emulates ring 0 knows neither INT n nor SYSCALL of such guests.)
        .macro call_gate name, instruction:vararg
        .globl \name
\name:
        \instruction
        iretq
        .endm
        call_gate gate_out8, out dx, al
        call_gate gate_out16, out dx, ax
        call_gate gate_out32, out dx, eax
        call_gate gate_in8, in al, dx
        call_gate gate_in32, in eax, dx
        call_gate gate_insw, rep insw
        call_gate gate_outsw, rep outsw
        call_gate gate_outsb, rep outsb
        call_gate gate_cpuid, mov r9, rbx; cpuid; mov rbx, r9
// The caller's interrupts are open from here on.
        call_gate gate_open, or dword ptr [rsp + 16], 0x200
// Waits for an interrupt, unless there was one since the caller read `events` into RDI.
        .globl gate_wait
gate_wait:
        cmp [events], rdi
        jne 1f
        sti
        hlt
        cli
1:      iretq

interrupt:
        push rax
        push rcx
        push rdx
        rdtsc
        shl rdx, 32
        or rax, rdx
        mov [interrupt_time], rax
        mov ecx, [rsp + 24]             // the vector
        inc qword ptr [interrupt_counts + rcx * 8]
        inc qword ptr [events]
        cmp ecx, 0x30
        jb legacy
        mov edx, 0xFEE000B0             // local APIC: end of interrupt
        mov dword ptr [rdx], 0
        jmp acknowledged
legacy: mov al, 0x20
        cmp ecx, 0x28
        jb first
        out 0xA0, al
first:  out 0x20, al
acknowledged:
        pop rdx
        pop rcx
        pop rax
        add rsp, 16
        iretq

exception:
        pop rdi                         // vector, error code, instruction pointer
        pop rsi
        mov rdx, [rsp]
        mov rcx, cr2
        push 0x1B
        push offset user_stack_top - 8
        push 2
        push 0x23
        push offset fault
        iretq

// What compiled code calls without saying so.
        .globl memcpy, memmove, memset, memcmp, bcmp, strlen, rust_eh_personality
memcpy: mov rax, rdi
        mov rcx, rdx
        rep movsb
        ret
memmove:
        mov rax, rdi
        mov rcx, rdx
        mov rdx, rdi
        sub rdx, rsi
        cmp rdx, rcx
        jb 1f
        rep movsb
        ret
1:      lea rdi, [rdi + rcx - 1]
        lea rsi, [rsi + rcx - 1]
        std
        rep movsb
        cld
        ret
memset: mov r9, rdi
        mov eax, esi
        mov rcx, rdx
        rep stosb
        mov rax, r9
        ret
memcmp:
bcmp:   xor eax, eax
        xor ecx, ecx
1:      cmp rcx, rdx
        je 2f
        movzx eax, byte ptr [rdi + rcx]
        movzx r8d, byte ptr [rsi + rcx]
        inc rcx
        sub eax, r8d
        je 1b
2:      ret
strlen: xor eax, eax
1:      cmp byte ptr [rdi + rax], 0
        je 2f
        inc rax
        jmp 1b
2:      ret
// Nothing unwinds.
rust_eh_personality:
        ud2
