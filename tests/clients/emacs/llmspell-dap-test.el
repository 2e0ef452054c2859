;;; llmspell-dap-test.el --- Emacs debugs a Lua script  -*- lexical-binding: t -*-

;; Runs in batch with Debian's elpa-dap-mode, through the commands that a user
;; of dap-mode calls: breakpoints with conditions and log messages are made in
;; the buffer, steps are `dap-next' and friends, values come from `dap-eval' and
;; from what fills dap-mode's Locals window.  The binary is in $LLMSPELL.
;; Prints a line for each check and a summary; exits with 1 if one failed.

;;; Code:

(defvar dap-exception-breakpoints nil)
(defvar test-home (make-temp-file "llmspell-emacs-" t))
(when (boundp 'native-comp-eln-load-path)
  (push (expand-file-name "eln" test-home) native-comp-eln-load-path))
(require 'package)
(package-initialize)
(setq user-emacs-directory (file-name-as-directory test-home)
      lsp-session-file (expand-file-name "session" test-home)
      dap-breakpoints-file (expand-file-name "breakpoints" test-home)
      dap-auto-show-output nil
      dap-output-buffer-filter nil ; show all categories; dap-mode hides "console"
      make-backup-files nil)
(require 'cl-lib)
(require 'dap-mode)
(require 'dap-ui)

(defvar test-passed 0)
(defvar test-failed 0)
(defvar test-patience 20 "Seconds after which something that does not come is missing.")
(defvar test-binary (or (getenv "LLMSPELL") (error "Set LLMSPELL to the binary to test")))
(defvar test-script
  (file-truename (expand-file-name "basket.lua" (file-name-directory (or load-file-name buffer-file-name)))))
(defvar test-errors nil "What dap-mode told the user about exceptions, newest first.")

(advice-add 'lsp--error :before
            (lambda (text &rest args) (push (apply #'format text args) test-errors)))

;;; Checks

(defun test-check (name actual expected)
  "Count the check NAME: ACTUAL is EXPECTED, a value, a regexp (re REGEXP) or one of (any VALUES...)."
  (let ((ok (pcase expected
              (`(re ,regexp) (and (stringp actual) (string-match-p regexp actual)))
              (`(any . ,values) (member actual values))
              (_ (equal actual expected)))))
    (if ok (cl-incf test-passed) (cl-incf test-failed))
    (princ (format "%s %s%s\n" (if ok "ok  " "FAIL") name
                   (if ok "" (format ": %S instead of %S" actual expected))))))

(defun test-wait (what predicate)
  "Read what processes say until PREDICATE gives something; give up on WHAT after a while."
  (let ((deadline (+ (float-time) test-patience)) result)
    (while (not (setq result (funcall predicate)))
      (when (> (float-time) deadline) (error "No %s in sight" what))
      (accept-process-output nil 0.1))
    result))

(defmacro test-scenario (name &rest body)
  "Run BODY as the scenario NAME; an error in it is a failed check."
  (declare (indent 1))
  `(condition-case problem
       (with-timeout ((* 3 test-patience) (error "The scenario hangs"))
         (princ (format "-- %s\n" ,name))
         ,@body)
     (error (test-check (format "%s goes through to its end" ,name) (error-message-string problem) "no error"))))

;;; The script and its breakpoints

(defun test-line (mark)
  "The line of the script that is marked with MARK."
  (with-current-buffer (find-file-noselect test-script)
    (save-excursion
      (goto-char (point-min))
      (re-search-forward (format "--@%s$" mark))
      (line-number-at-pos))))

(defun test-breakpoint (mark &optional command answer)
  "Set a breakpoint at MARK, as a user does; then call COMMAND, which asks for ANSWER."
  (with-current-buffer (find-file-noselect test-script)
    (goto-char (point-min))
    (forward-line (1- (test-line mark)))
    (dap-breakpoint-add)
    (when command
      (cl-letf (((symbol-function 'read-string) (lambda (&rest _) answer)))
        (call-interactively command)))))

(defun test-no-breakpoints ()
  "Delete all breakpoints, as a user does."
  (dap-breakpoint-delete-all))

(defun test-serve ()
  "Start the script with a debug port; give its process, with the port as a property."
  (let* ((errors (generate-new-buffer "stderr"))
         (process (make-process :name "llmspell" :buffer (generate-new-buffer "stdout") :noquery t
                                :connection-type 'pipe
                                :command (list test-binary "run" "--dap" "0" "--wait" test-script)
                                :stderr errors))
         (port (test-wait "port" (lambda ()
                                   (with-current-buffer errors
                                     (goto-char (point-min))
                                     (when (re-search-forward "dap: listening on 127\\.0\\.0\\.1:\\([0-9]+\\)\n" nil t)
                                       (string-to-number (match-string 1))))))))
    (set-process-sentinel (get-buffer-process errors) #'ignore)
    (set-process-sentinel process #'ignore)
    (process-put process 'port port)
    (process-put process 'errors errors)
    process))

(defun test-exit (process)
  "Wait for the end of PROCESS and give its exit code."
  (test-wait "exit of the script" (lambda () (memq (process-status process) '(exit signal))))
  (process-exit-status process))

(defun test-stdout (process)
  "What PROCESS wrote so far."
  (while (accept-process-output process 0.01))
  (with-current-buffer (process-buffer process) (buffer-string)))

;;; The session

(dap-register-debug-provider
 "llmspell"
 (lambda (conf)
   (unless (plist-get conf :debugServer)
     (plist-put conf :dap-server-path (list test-binary "dap")))
   (plist-put conf :host "127.0.0.1")
   conf))

(defun test-attach (process)
  "Attach to PROCESS; give the session."
  (dap-debug (list :type "llmspell" :request "attach" :name "Attach to Lua"
                   :debugServer (process-get process 'port)))
  (dap--cur-session))

(defalias 'test-session #'dap--cur-session)

(defun test-top (&optional key)
  "Wait for the frame where the script stops; give its KEY, the line if nil."
  (gethash (or key "line")
           (test-wait "stop" (lambda () (dap--debug-session-active-frame (test-session))))))

(defun test-ended ()
  "Wait for the end of the session."
  (test-wait "end of the session" (lambda () (not (dap--session-running (test-session))))))

(defun test-why ()
  "Why the script stopped."
  (gethash 1 (dap--debug-session-thread-states (test-session))))

(defun test-scope (name)
  "The variablesReference of the scope NAME of the top frame."
  (let ((scopes (gethash "scopes" (dap-request (test-session) "scopes" :frameId (test-top "id")))))
    (gethash "variablesReference" (cl-find name scopes :key (lambda (s) (gethash "name" s)) :test #'equal))))

(defun test-variables (reference)
  "Names and values as dap-mode shows them in its Locals window."
  (mapcar (lambda (node) (cons (plist-get node :name) (plist-get node :value)))
          (dap-ui-render-variables (test-session) reference nil)))

(defun test-local (name)
  "The value that dap-mode shows for the local NAME."
  (cdr (assoc name (test-variables (test-scope "Locals")))))

(defun test-page (name &rest page)
  "Names of a PAGE of the children of the local NAME."
  (let* ((locals (gethash "variables" (dap-request (test-session) "variables" :variablesReference (test-scope "Locals"))))
         (variable (cl-find name locals :key (lambda (v) (gethash "name" v)) :test #'equal)))
    (mapcar (lambda (v) (gethash "name" v))
            (gethash "variables" (apply #'dap-request (test-session) "variables"
                                        :variablesReference (gethash "variablesReference" variable) page)))))

(defun test-eval (expression)
  "What `dap-eval' shows for EXPRESSION."
  (let (shown)
    (cl-letf (((symbol-function 'dap-overlays--display-interactive-eval-result)
               (lambda (value &rest _) (setq shown value))))
      (with-current-buffer (find-file-noselect test-script)
        (dap-eval expression))
      (test-wait "value" (lambda () shown)))))

(defun test-repl (code)
  "What the debug console answers to CODE."
  (gethash "result" (dap-request (test-session) "evaluate"
                                 :expression code :frameId (test-top "id") :context "repl")))

(defun test-go (command)
  "Call the stepping COMMAND of dap-mode; give the line where it ends."
  (call-interactively command)
  (test-top))

(defun test-watch (expression)
  "What dap-mode's Expressions window shows for EXPRESSION."
  (let (shown)
    (cl-letf (((symbol-function 'lsp-treemacs-render)
               (lambda (nodes &rest _) (setq shown (plist-get (car nodes) :label))))
              ((symbol-value 'dap-ui-expressions) (list expression)))
      (dap-ui-expressions-refresh))
    (substring-no-properties shown)))

(defun test-output ()
  "What is in the output buffer of the session."
  (with-current-buffer (dap--debug-session-output-buffer (test-session)) (buffer-string)))

;;; Scenarios

(test-scenario "breakpoints, values, steps, an uncaught error"
  (test-breakpoint "price" #'dap-breakpoint-condition "i == 3")
  (test-breakpoint "total" #'dap-breakpoint-log-message "so far {self.total}")
  (let* ((process (test-serve)) (session (test-attach process)))
    (test-check "stops at the breakpoint" (test-top) (test-line "price"))
    (test-check "in the script" (test-top "name") '(re "main"))
    (test-check "in its file" (dap--get-path-for-frame (dap--debug-session-active-frame session)) test-script)
    (test-check "because of it" (test-why) "breakpoint")
    (test-check "shows the source" (buffer-file-name (window-buffer (selected-window))) test-script)
    (test-check "breakpoints are verified"
                (mapcar (lambda (b) (gethash "verified" b)) (gethash test-script (dap--debug-session-breakpoints session)))
                '(t t))
    (test-check "the condition held" (test-local "i") "3")
    (test-check "a local that is not there yet" (test-local "price") nil)
    (test-check "a table in one line" (test-local "basket") '(re "total = 30"))
    (test-check "a page of a table" (test-page "numbers" :filter "indexed" :start 500 :count 3) '("[501]" "[502]" "[503]"))
    (test-check "evaluates a name" (test-eval "i") "3")
    (test-check "evaluates a field" (test-eval "basket.total") "30")
    (test-check "says what is wrong" (test-eval "nothing.field") '(re "nothing"))
    (test-check "evaluates in the console" (test-repl "i * 100, #basket.items") '(re "300.*2"))
    (test-check "watches" (test-watch "i * 100 + basket.total") "i * 100 + basket.total: 330")
    (test-check "watches what fails" (test-watch "nothing.field") '(re "attempt to index a nil value"))
    (test-check "steps over" (test-go #'dap-next) (test-line "call"))
    (test-check "because of the step" (test-why) "step")
    (test-check "sees the new local" (test-local "price") "30")
    (dap-request session "setVariable" :variablesReference (test-scope "Locals") :name "price" :value "price + 970")
    (test-check "sets a variable" (test-local "price") "1000")
    (test-check "steps in" (test-go #'dap-step-in) (test-line "add"))
    (test-check "into the method" (test-top "name") '(re "add"))
    (test-check "with its arguments" (list (test-local "item") (test-local "price")) '("\"item 3\"" "1000"))
    (test-check "below its caller"
                (gethash "line" (nth 1 (gethash 1 (dap--debug-session-thread-stack-frames session)))) (test-line "call"))
    (dap-up-stack-frame 1)
    (test-check "evaluates in the caller" (test-eval "i") "3")
    (dap-down-stack-frame 1)
    (test-check "the console runs statements" (progn (test-repl "self.owner = 'Ada'") (test-eval "self.owner")) "\"Ada\"")
    (test-check "steps out" (test-go #'dap-step-out) (list 'any (test-line "call") (test-line "for")))
    (test-check "stops at the uncaught error" (test-go #'dap-continue) (test-line "uncaught"))
    (test-check "as an exception" (test-why) "exception")
    (test-check "and tells about it"
                (test-wait "exception" (lambda () (cl-find-if (lambda (e) (string-match-p "caught by nobody" e)) test-errors)))
                '(re "Exception has occurred"))
    (test-check "the log points wrote" (test-output) '(re "so far 0\nso far 10\nso far 30\nso far 1030\nso far 1070\n"))
    (test-check "the output arrived" (test-output) '(re "total\t1120\n"))
    (call-interactively #'dap-continue)
    (test-ended)
    (test-check "exit code" (test-exit process) 1)
    (test-check "the script wrote" (test-stdout process) '(re "\\`total\t1120\nfalse\t.*caught in the script\n\\'"))
    (test-no-breakpoints)))

(test-scenario "all errors, hit condition, disconnect"
  (setq dap-exception-breakpoints '(("llmspell" ("all" . t) ("uncaught" . nil))))
  (test-breakpoint "price" #'dap-breakpoint-hit-condition "4")
  (let ((process (test-serve)))
    (test-attach process)
    (test-check "stops at the fourth hit" (test-top) (test-line "price"))
    (test-check "which is the fourth" (test-local "i") "4")
    (test-check "stops at an error that is caught" (test-go #'dap-continue) (test-line "caught"))
    (test-check "as an exception" (test-why) "exception")
    (call-interactively #'dap-disconnect)
    (test-ended)
    (test-check "disconnect lets the script end" (test-exit process) 1)
    (test-check "the script wrote all" (test-stdout process) '(re "caught in the script\n\\'"))
    (test-no-breakpoints))
  (setq dap-exception-breakpoints nil))

(test-scenario "breakpoints that come and go while it is stopped, terminate"
  (test-breakpoint "price")
  (let ((process (test-serve)))
    (test-attach process)
    (test-check "stops" (test-top) (test-line "price"))
    (test-breakpoint "add")
    (test-check "stops at the new breakpoint" (test-go #'dap-continue) (test-line "add"))
    (test-no-breakpoints)
    (test-breakpoint "print")
    (test-check "no more at the old ones" (test-go #'dap-continue) (test-line "print"))
    (dap-request (test-session) "terminate")
    (test-ended)
    (test-check "terminate ends the script" (= 0 (test-exit process)) nil)
    (test-check "where it was" (test-stdout process) "")
    (test-no-breakpoints)))

(test-scenario "launch through the stdio adapter"
  (test-breakpoint "print")
  (dap-debug (list :type "llmspell" :request "launch" :name "Run Lua" :program test-script))
  (test-check "stops" (test-top) (test-line "print"))
  (test-check "evaluates" (test-eval "basket.total") "150")
  (test-check "stops at the error" (test-go #'dap-continue) (test-line "uncaught"))
  (call-interactively #'dap-continue)
  (test-ended)
  (test-check "the output arrived" (test-output) '(re "total\t150\n"))
  (test-no-breakpoints))

(delete-directory test-home t)
(princ (format "emacs: %d passed, %d failed\n" test-passed test-failed))
(kill-emacs (if (and (> test-passed 0) (= test-failed 0)) 0 1))

;;; llmspell-dap-test.el ends here
