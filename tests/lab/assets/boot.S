# A bootable disk in one sector, for demonstrations and tests. It says what it is on the serial port, counts its boots in
# the disk's third sector, echoes what it receives, and obeys the power button (ACPI, as QEMU's machines have it).
#
#   sector 0: this code    sector 1: a text, ended by a zero byte    sector 2: the count, 16 bits
.code16
.globl _start
_start:
    ljmp $0, $begin
begin:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    cld
    mov %dl, drive
    mov $hello, %si
    call print
    mov $1, %bx
    mov $0x42, %ah
    call disk
    mov $0x8000, %si
    call print
    mov $2, %bx
    mov $0x42, %ah
    call disk
    incw 0x8000
    mov $2, %bx
    mov $0x43, %ah
    call disk
    mov $boots, %si
    call print
    mov 0x8000, %ax
    mov $10, %cx
    xor %bx, %bx
digit:
    xor %dx, %dx
    div %cx
    push %dx
    inc %bx
    test %ax, %ax
    jnz digit
write_digit:
    pop %ax
    add $'0', %al
    call put
    dec %bx
    jnz write_digit
    mov $newline, %si
    call print
    mov $0x602, %dx              # let the power button set its status bit
    mov $0x100, %ax
    outw %ax, %dx
idle:
    hlt
    mov $0x600, %dx
    inw %dx, %ax
    test $1, %ah
    jnz power_off
receive:
    mov $0x3fd, %dx
    inb %dx, %al
    test $1, %al
    jz idle
    mov $0x3f8, %dx
    inb %dx, %al
    call put
    jmp receive
power_off:
    mov $goodbye, %si
    call print
    mov $0x604, %dx
    mov $0x2000, %ax
    outw %ax, %dx
stop:
    hlt
    jmp stop
disk:                            # sector %bx, function %ah, at 0x8000
    mov %bx, sector
    mov $packet, %si
    mov drive, %dl
    xor %al, %al
    int $0x13
    jc disk_error
    ret
disk_error:
    mov $failed, %si
    call print
    jmp stop
print:
    lodsb
    test %al, %al
    jz printed
    call put
    jmp print
printed:
    ret
put:
    push %dx
    push %ax
    mov $0x3fd, %dx
wait:
    inb %dx, %al
    test $0x20, %al
    jz wait
    pop %ax
    mov $0x3f8, %dx
    outb %al, %dx
    pop %dx
    ret
drive:  .byte 0
packet: .byte 16, 0
        .word 1
        .word 0x8000, 0
sector: .long 0, 0
hello:  .asciz "TINY "
boots:  .asciz " boots="
goodbye: .asciz "POWER OFF\r\n"
failed: .asciz "DISK ERROR\r\n"
newline: .asciz "\r\n"
.org 510
.word 0xaa55
