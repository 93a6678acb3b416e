/// Macros as headers of systems, frameworks and toolkits define them: a program may include any of these
/// before masthead. tests/headers/headers.py includes this file behind the standard and the CUDA headers and
/// before all headers of the library, which must compile nevertheless. Each group names the header it was
/// copied from; what a macro expands to is shortened where that makes no difference.
///
/// term.h of ncurses is not here: it defines `columns`, which is a member of every matrix and cannot be kept.
// clang-format off

// X11/Xos.h
#define index(s,c) (strchr((s),(c)))
#define rindex(s,c) (strrchr((s),(c)))

// X11/X.h
#define None 0L
#define ParentRelative 1L
#define CopyFromParent 0L
#define PointerWindow 0L
#define InputFocus 1L
#define PointerRoot 1L
#define AnyPropertyType 0L
#define AnyKey 0L
#define AnyButton 0L
#define AllTemporary 0L
#define CurrentTime 0L
#define NoSymbol 0L
#define NoEventMask 0L
#define KeyPress 2
#define KeyRelease 3
#define ButtonPress 4
#define FocusIn 9
#define FocusOut 10
#define Expose 12
#define MapRequest 20
#define GenericEvent 35
#define LASTEvent 36
#define Success 0
#define BadRequest 1
#define BadValue 2
#define BadWindow 3
#define BadMatch 8
#define BadAccess 10
#define BadAlloc 11
#define BadLength 16
#define Always 2
#define Above 0
#define Below 1
#define TopIf 2
#define Opposite 4
#define Unsorted 0
#define YSorted 1
#define Complex 0
#define Nonconvex 1
#define Convex 2
#define CursorShape 0
#define Button1 1
#define LineSolid 0
#define CapRound 2
#define FillSolid 0
#define WhenMapped 1
#define NotUseful 0
#define DontCareState 0
#define LSBFirst 0
#define MSBFirst 1

// X11/Xlib.h
#define Bool int
#define Status int
#define True 1
#define False 0
#define QueuedAlready 0
#define AllPlanes ((unsigned long)~0L)
#define ConnectionNumber(dpy) (((_XPrivDisplay)(dpy))->fd)
#define DefaultScreen(dpy) (((_XPrivDisplay)(dpy))->default_screen)
#define ScreenOfDisplay(dpy, scr) (&((_XPrivDisplay)(dpy))->screens[scr])

// AssertMacros.h (macOS)
#define check(assertion) do { if (!(assertion)) {} } while (0)
#define check_noerr(errorCode) do { if (0 != (errorCode)) {} } while (0)
#define check_string(assertion, message) do { if (!(assertion)) {} } while (0)
#define verify(assertion) do { if (!(assertion)) {} } while (0)
#define verify_noerr(errorCode) do { if (0 != (errorCode)) {} } while (0)
#define verify_action(assertion, action) if (!(assertion)) { action; } else do {} while (0)
#define require(assertion, exceptionLabel) do { if (!(assertion)) { goto exceptionLabel; } } while (0)
#define require_noerr(errorCode, exceptionLabel) do { if (0 != (errorCode)) { goto exceptionLabel; } } while (0)
#define require_action(assertion, exceptionLabel, action) do { if (!(assertion)) { { action; } goto exceptionLabel; } } while (0)
#define require_quiet(assertion, exceptionLabel) do { if (!(assertion)) { goto exceptionLabel; } } while (0)
#define require_string(assertion, exceptionLabel, message) do { if (!(assertion)) { goto exceptionLabel; } } while (0)
#define nrequire(assertion, exceptionLabel) require(!(assertion), exceptionLabel)
#define ncheck(assertion) check(!(assertion))

// mach/*.h, Carbon and Objective-C
#define YES ((signed char)1)
#define NO ((signed char)0)
#define Nil nullptr
#define nil nullptr
#define IBOutlet
#define IBAction void
#define panic(...) abort()

// complex.h
#define complex _Complex
#define _Complex_I (__extension__ 1.0iF)
#define I _Complex_I
#define imaginary _Imaginary

// sys/sysmacros.h
#define major(dev) gnu_dev_major (dev)
#define minor(dev) gnu_dev_minor (dev)
#define makedev(maj, min) gnu_dev_makedev (maj, min)

// predefined by gcc without -std=c++NN, which means -std=gnu++NN
#define unix 1
#define linux 1

// termios.h, asm-generic/termbits.h
#define B0 0000000
#define B50 0000001
#define B300 0000007
#define CR0 0000000
#define CR1 0001000
#define NL0 0000000
#define TAB0 0000000
#define BS0 0000000
#define VT0 0000000
#define FF0 0000000
#define CSIZE 0000060
#define CS5 0000000
#define CS8 0000060
#define PARENB 0000400
#define ECHO 0000010
#define IXON 0002000
#define CTRL(x) (x&037)

// sys/select.h, sys/stat.h, netdb.h, netinet/in.h, signal.h, sched.h
#define st_atime st_atim.tv_sec
#define st_mtime st_mtim.tv_sec
#define d_fileno d_ino
#define h_addr h_addr_list[0]
#define s6_addr __in6_u.__u6_addr8
#define sa_handler __sigaction_handler.sa_handler
#define fds_bits __fds_bits
#define si_value _sifields._rt.si_sigval

// sys/param.h, sys/queue.h
#define MIN(a,b) (((a)<(b))?(a):(b))
#define MAX(a,b) (((a)>(b))?(a):(b))
#define howmany(x, y) (((x) + ((y) - 1)) / (y))
#define roundup(x, y) ((((x) + ((y) - 1)) / (y)) * (y))
#define powerof2(x) ((((x) - 1) & (x)) == 0)
#define setbit(a,i) ((a)[(i)/8] |= 1<<((i)%8))
#define isset(a,i) ((a)[(i)/8] & (1<<((i)%8)))
#define isclr(a,i) (((a)[(i)/8] & (1<<((i)%8))) == 0)
#define LIST_HEAD(name, type) struct name { struct type *lh_first; }

// stdnoreturn.h of clang
#define noreturn _Noreturn

// linux/compiler.h and linux/kernel.h, which many programs copy
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))
#define __packed __attribute__((__packed__))
#define __aligned(x) __attribute__((__aligned__(x)))

// windows.h: minwindef.h, windef.h, winnt.h, rpcndr.h, objbase.h, wingdi.h, winuser.h, winbase.h, winerror.h
#define min(a,b) (((a) < (b)) ? (a) : (b))
#define max(a,b) (((a) > (b)) ? (a) : (b))
#define near
#define far
#define NEAR near
#define FAR far
#define CONST const
#define IN
#define OUT
#define OPTIONAL
#define pascal __stdcall
#define cdecl
#define CALLBACK __stdcall
#define WINAPI __stdcall
#define VOID void
#define TRUE 1
#define FALSE 0
#define small char
#define hyper long long
#define interface struct
#define THIS_
#define THIS void
#define STRICT 1
#define ERROR 0
#define NO_ERROR 0L
#define DELETE (0x00010000L)
#define SYNCHRONIZE (0x00100000L)
#define DOMAIN 1
#define OVERFLOW 3
#define UNDERFLOW 4
#define ABSOLUTE 1
#define RELATIVE 2
#define TRANSPARENT 1
#define OPAQUE 2
#define ALTERNATE 1
#define WINDING 2
#define DIFFERENCE 11
#define RGB(r,g,b) ((COLORREF)(((BYTE)(r)|((WORD)((BYTE)(g))<<8))|(((DWORD)(BYTE)(b))<<16)))
#define Yield()
#define GetMessage GetMessageA
#define SendMessage SendMessageA
#define GetObject GetObjectA
#define CreateWindow CreateWindowA
#define LoadImage LoadImageA
#define DrawText DrawTextA
#define GetClassName GetClassNameA
#define GetCurrentTime() GetTickCount()
#define CopyMemory RtlCopyMemory
#define FillMemory RtlFillMemory
#define ZeroMemory RtlZeroMemory
#define FAILED(hr) (((HRESULT)(hr)) < 0)
#define SUCCEEDED(hr) (((HRESULT)(hr)) >= 0)
#define UNICODE_NULL ((WCHAR)0)
#define _T(x) x

// curses.h, where NCURSES_NOMACROS is not defined
#define box(win, v, h) wborder(win, v, v, h, h, 0, 0, 0, 0)
#define border(ls, rs, ts, bs, tl, tr, bl, br) wborder(stdscr, ls, rs, ts, bs, tl, tr, bl, br)
#define move(y,x) wmove(stdscr,(y),(x))
#define clear() wclear(stdscr)
#define erase() werase(stdscr)
#define refresh() wrefresh(stdscr)
#define scroll(win) wscrl((win),1)
#define timeout(delay) wtimeout(stdscr,(delay))
#define standout() wstandout(stdscr)
#define instr(s) winstr(stdscr,(s))
#define delch() wdelch(stdscr)
#define insch(c) winsch(stdscr,(c))
#define getch() wgetch(stdscr)
#define addch(ch) waddch(stdscr,(ch))
#define getstr(str) wgetstr(stdscr,(str))
#define attron(at) wattron(stdscr,(at))
#define hline(ch, n) whline(stdscr,(ch),(n))
#define vline(ch, n) wvline(stdscr,(ch),(n))
#define setscrreg(t,b) wsetscrreg(stdscr,(t),(b))
#define insertln() winsdelln(stdscr,1)
#define mvaddch(y,x,ch) mvwaddch(stdscr,(y),(x),(ch))

// Arduino.h, binary.h
#define F(string_literal) (reinterpret_cast<const __FlashStringHelper *>(PSTR(string_literal)))
#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define OUTPUT 0x1
#define CHANGE 1
#define FALLING 2
#define RISING 3
#define DEFAULT 1
#define EXTERNAL 0
#define INTERNAL 3
#define SERIAL 0x0
#define DISPLAY 0x1
#define PI 3.1415926535897932384626433832795
#define HALF_PI 1.5707963267948966192313216916398
#define abs(x) ((x)>0?(x):-(x))
#define constrain(amt,low,high) ((amt)<(low)?(low):((amt)>(high)?(high):(amt)))
#define round(x) ((x)>=0?(long)((x)+0.5):(long)((x)-0.5))
#define radians(deg) ((deg)*DEG_TO_RAD)
#define sq(x) ((x)*(x))
#define lowByte(w) ((uint8_t) ((w) & 0xff))
#define highByte(w) ((uint8_t) ((w) >> 8))
#define bitRead(value, bit) (((value) >> (bit)) & 0x01)
#define bitSet(value, bit) ((value) |= (1UL << (bit)))
#define bit(b) (1UL << (b))
#define word(...) makeWord(__VA_ARGS__)
#define interrupts() sei()
#define _BV(bit) (1 << (bit))
#define B1 1
#define B01 1
#define B10 2
#define A0 14
#define A1 15
#define E1 2
#define D0 0

// ctype.h of newlib and of BSD
#define _U 01
#define _L 02
#define _N 04
#define _S 010
#define _P 020
#define _C 040
#define _X 0100
#define _B 0200
#define _A 0x100
#define _D 0x200

// qobjectdefs.h and qforeach.h of Qt, without QT_NO_KEYWORDS
#define signals public
#define slots
#define emit
#define foreach(variable, container) for (variable : container)
#define forever for (;;)

// Rinternals.h and R_ext/Error.h of R, without R_NO_REMAP
#define error Rf_error
#define warning Rf_warning
#define length Rf_length
#define duplicate Rf_duplicate
#define isNull Rf_isNull
#define install Rf_install
#define mkChar Rf_mkChar
#define eval Rf_eval
#define cons Rf_cons
#define list1 Rf_list1

// libintl.h as programs use it; logging headers (glog, Caffe2, TensorFlow)
#define _(text) gettext(text)
#define N_(text) text
#define CHECK(condition) do { if (!(condition)) {} } while (0)
#define LOG(severity) COMPACT_GOOGLE_LOG_##severity.stream()
#define VLOG(level) LOG(level)
#define DCHECK(condition) CHECK(condition)
#define ASSERT(condition) do { if (!(condition)) {} } while (0)
#define DEBUG 1
#define INFO 0
#define WARNING 1
#define FATAL 3

// curses.h
#define OK (0)
#define ERR (-1)

// signal.h, ctype.h, math.h, setjmp.h, stdio.h, errno.h
#define sigmask(sig) (1 << ((sig) - 1))
#define tolower(c) __tolower(c)
#define signbit(x) __builtin_signbit(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)
#define isnormal(x) __builtin_isnormal(x)
#define fpclassify(x) 0
#define setjmp(env) _setjmp (env)
#define stdin stdin
#define stdout stdout
#define errno (*__errno_location ())
// clang-format on
