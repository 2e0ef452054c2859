;;; llmspell-dap.el --- Debug Lua with llmspell and dap-mode  -*- lexical-binding: t -*-

;;; Commentary:

;; Put this file on `load-path' and (require 'llmspell-dap) in your init file.
;; Then `M-x dap-debug' offers two configurations: one that runs the file of the
;; current buffer, and one that attaches to a script that was started with
;; `llmspell run --dap'.  `dap-breakpoint-toggle', `dap-next' and the other
;; commands of dap-mode work as with any language.

;;; Code:

(require 'dap-mode)

(defvar dap-exception-breakpoints nil)

(defgroup llmspell nil "Debugging Lua with llmspell." :group 'dap-mode)

(defcustom llmspell-program "llmspell"
  "The llmspell binary."
  :type 'string)

(defun llmspell-dap-configure (configuration)
  "Complete CONFIGURATION: the adapter, and the script if none is named."
  (let ((launch (equal (plist-get configuration :request) "launch")))
    (when (and launch (not (plist-get configuration :program)))
      (plist-put configuration :program (buffer-file-name)))
    (when (and launch (not (plist-get configuration :cwd)))
      (plist-put configuration :cwd
                 (file-name-directory (plist-get configuration :program))))
    (plist-put configuration :dap-server-path (list llmspell-program "dap"))))

(dap-register-debug-provider "llmspell" #'llmspell-dap-configure)

(dap-register-debug-template
 "Lua: run this file"
 (list :type "llmspell" :request "launch" :name "Lua: run this file"
       :program nil :cwd nil :args [] :stopOnEntry :json-false))

(dap-register-debug-template
 "Lua: attach to port 9556"
 (list :type "llmspell" :request "attach" :name "Lua: attach to port 9556"
       :host "127.0.0.1" :port 9556))

(provide 'llmspell-dap)
;;; llmspell-dap.el ends here
